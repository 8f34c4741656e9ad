// The life of a viewer, with a gateway of the test's own making: no server is needed.

import assert from "node:assert/strict";
import { test } from "node:test";

import { afterClose, pauseBefore } from "../watch.js";
import { scripted } from "./scripted.js";

test("what a close code says to do", () => {
    for (const code of [1000, 1001, 1005, 1006, 1011, 4000, 4001, 4399]) assert.equal(afterClose(code), "resume", code);
    for (const code of [4400, 4401, 4499]) assert.equal(afterClose(code), "anew", code);
    for (const code of [1008, 4500, 4504, 4999]) assert.equal(afterClose(code), "end", code);
});

test("pauses grow, and not without end", () => {
    assert.deepEqual([0, 1, 2].map(attempt => pauseBefore(attempt, () => 1)), [250, 500, 1000]);
    assert.equal(pauseBefore(1000, () => 1), 30_000);
    assert.equal(pauseBefore(0, () => 0), 125);
});

/** A worker of a gateway of scripts. */
function workerOf(...scripts) {
    const { gateway, urls } = scripted(...scripts);
    return { worker: gateway.worker({ runtime_id: "r", worker_id: "w" }), urls };
}

const event = cursor => ({ kind: "event", envelope: { cursor, event_id: cursor, payload: {} } });

test("a stream comes back with its cursor, or without, or not at all", async () => {
    const { worker, urls } = workerOf(
        socket => { socket.opens(); socket.says(event("c1")); socket.closes(4001); },
        socket => { socket.opens(); socket.closes(4400); },
        socket => {
            socket.opens();
            socket.says(event("c2"));
            socket.says({ kind: "diagnostic", diagnostic: { code: "worker_not_found", severity: "error", message: "-" } });
            socket.closes(4504);
        },
    );
    const seen = [];
    const watch = worker.watch({ onEvent: ({ cursor }) => seen.push(cursor) });
    await assert.rejects(watch.done, { name: "GatewayError", code: "worker_not_found", worker_id: "w" });
    assert.deepEqual(urls.map(({ cursor }) => cursor), [null, "c1", null]);
    assert.deepEqual(urls[0].protocols, ["sekisho.v1", "bearer.t"]);
    assert.deepEqual(seen, ["c1", "c2"]);
    assert.equal(watch.cursor, "c2");
});

test("an event that the caller could not deal with is not passed by", async () => {
    const { worker } = workerOf(socket => { socket.opens(); socket.says(event("c1")); socket.says(event("c2")); });
    const watch = worker.watch({ cursor: "c0", onEvent() { throw new Error("full"); } });
    await assert.rejects(watch.done, { message: "full" });
    assert.equal(watch.cursor, "c0");
});

test("why a stream does not open is asked for", async () => {
    const { worker, urls } = workerOf(socket => socket.closes(1006));
    await assert.rejects(worker.watch().done, { code: "unauthorized", status: 401 });
    assert.equal(urls.length, 1);
});

test("a watch that was closed is silent, and one that never began too", async () => {
    let late;
    const { worker, urls } = workerOf(socket => { late = socket; });
    const seen = [];
    const watch = worker.watch({ onEvent: () => seen.push("event"), onState: state => seen.push(state) });
    await new Promise(resolve => { setTimeout(resolve); });
    watch.close();
    late.says(event("c1"));
    late.closes(1006);
    await watch.done;
    assert.deepEqual(seen, ["connecting", "closed"]);
    await worker.watch({ signal: AbortSignal.abort() }).done;
    assert.equal(urls.length, 1);
});
