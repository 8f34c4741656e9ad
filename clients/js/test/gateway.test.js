// At a real gateway: `cargo test -p sekisho-tests --test javascript` starts one, and says where.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as client from "../sekisho.js";
import { scenario } from "./scenario.js";

const { SEKISHO_URL: url, SEKISHO_TOKEN: token, SEKISHO_EXPECTED: expected } = process.env;

test("the scenario", { skip: url ? false : "SEKISHO_URL is not set", timeout: 60_000 }, async () => {
    assert.deepEqual(await scenario(client, { url, token }), JSON.parse(expected));
});
