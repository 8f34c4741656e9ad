// The list of all workers, with a gateway of the test's own making.

import assert from "node:assert/strict";
import { test } from "node:test";

import { scripted } from "./scripted.js";

const snapshot = (position, runtimes) => ({ kind: "snapshot", position, runtimes });
const runtime = (runtime_id, workers = [], requests = []) => ({
    kind: "runtime",
    runtime: { runtime_id, reachability: "reachable" },
    workers: workers.map(worker_id => ({ runtime_id, worker_id })),
    requests,
});
const change = (position, event, more) => ({ kind: "change", position, change: { event, ...more } });
const worker = (runtime_id, worker_id, status) => ({ worker: { runtime_id, worker_id, status } });
const request = (request_id, title) => ({ request: { runtime_id: "a", worker_id: "1", request_id, title } });

/** What was shown while a gateway said this, connection by connection. */
async function shown(...connections) {
    let watch, states = [];
    const { gateway, urls } = scripted(...connections.map(({ says, closes }) => socket => {
        socket.opens();
        says.forEach(frame => socket.says(frame));
        if (closes) socket.closes(closes);
        else watch.close();
    }));
    const list = fleet => [
        fleet.runtimes.map(({ runtime_id }) => runtime_id).join(),
        fleet.workers.map(({ runtime_id, worker_id, status }) => `${runtime_id}/${worker_id} ${status ?? "-"}`).join(),
        fleet.requests.map(({ request_id, title }) => `${request_id} ${title}`).join(),
    ];
    watch = gateway.watchWorkers({ onUpdate: (fleet, change) => states.push([change?.event ?? "anew", ...list(fleet)]) });
    const end = await watch.done.then(() => "closed", ({ code }) => code);
    return { states, end, urls };
}

test("a state is shown as a whole, and then with each change", async () => {
    const { states, end, urls } = await shown({
        says: [
            snapshot(4, 2), runtime("a", ["1"]), runtime("b"),
            change(5, "worker_changed", worker("a", "1", "running")),
            change(6, "worker_added", worker("b", "2", "running")),
            change(7, "request_opened", request("q", "which")),
            // Something else is told of the same request.
            change(8, "request_opened", request("q", "what")),
            change(9, "request_resolved", { runtime_id: "a", worker_id: "1", request_id: "q" }),
            change(10, "worker_praised", { by: "a manager" }),
            change(11, "worker_gone", { runtime_id: "a", worker_id: "1" }),
            change(12, "runtime_changed", { runtime: { runtime_id: "c" } }),
            change(13, "runtime_gone", { runtime_id: "b" }),
        ],
    });
    assert.deepEqual(states, [
        ["anew", "a,b", "a/1 -", ""],
        ["worker_changed", "a,b", "a/1 running", ""],
        ["worker_added", "a,b", "a/1 running,b/2 running", ""],
        ["request_opened", "a,b", "a/1 running,b/2 running", "q which"],
        ["request_opened", "a,b", "a/1 running,b/2 running", "q what"],
        ["request_resolved", "a,b", "a/1 running,b/2 running", ""],
        ["worker_praised", "a,b", "a/1 running,b/2 running", ""],
        ["worker_gone", "a,b", "b/2 running", ""],
        ["runtime_changed", "a,b,c", "b/2 running", ""],
        ["runtime_gone", "a,c", "", ""],
    ]);
    assert.equal(end, "closed");
    assert.deepEqual(urls.map(({ pathname }) => pathname), ["/prefix/api/workers/events/ws"]);
});

test("it comes back to another state, and what was half told is not shown", async () => {
    const { states, urls } = await shown(
        { says: [snapshot(1, 1), runtime("a", ["1"])], closes: 1001 },
        { says: [snapshot(9, 2), runtime("a", ["9"])], closes: 1006 },
        { says: [snapshot(0, 1), runtime("b", ["2"]), change(1, "worker_gone", { runtime_id: "b", worker_id: "2" })] },
    );
    assert.deepEqual(states, [
        ["anew", "a", "a/1 -", ""],
        ["anew", "b", "b/2 -", ""],
        ["worker_gone", "b", "", ""],
    ]);
    assert.deepEqual(urls.map(({ cursor }) => cursor), [null, null, null]);
});

test("a viewer that was too slow is shown another state on the same connection", async () => {
    const { states } = await shown({ says: [snapshot(1, 0), snapshot(90, 1), runtime("a"), change(91, "runtime_gone", { runtime_id: "a" })] });
    assert.deepEqual(states.map(([event, runtimes]) => [event, runtimes]), [["anew", ""], ["anew", "a"], ["runtime_gone", ""]]);
});

test("what no gateway says ends it", async () => {
    const gone = position => change(position, "runtime_gone", { runtime_id: "a" });
    for (const says of [
        [gone(1)],
        [runtime("a")],
        [snapshot(1, 2), gone(2)],
        [snapshot(1, 2), runtime("a"), runtime("a")],
        [snapshot(1, 0), gone(1)],
        [snapshot(1, 0), gone(3)],
        [snapshot(1, 0), runtime("a")],
        [snapshot(1, 1), { kind: "runtime" }],
    ]) {
        assert.equal((await shown({ says })).end, "not_a_gateway", JSON.stringify(says));
    }
});
