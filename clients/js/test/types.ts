// Compiled and never run: that the declarations say what a program may do with them.

import { connect, GatewayError, isSnapshot, type Create, type WorkerView } from "../sekisho.js";

const create: Create = { intent: { kind: "task", objective: "-" }, profile: { kind: "named", value: "sh" } };
// @ts-expect-error: there is no such intent
const wrong: Create = { intent: { kind: "butler" } };

export async function use(): Promise<string | undefined> {
    const gateway = connect({ url: "http://localhost:8787", token: "t" });
    const made: WorkerView = await gateway.create("embedded", create, { key: "k" });
    const worker = gateway.worker(made);
    const watch = worker.watch({
        cursor: undefined,
        onEvent: event => isSnapshot(event) && event.runtime_id.length,
        onDiagnostic: ({ code, retry_after_ms }) => `${code} ${(retry_after_ms ?? 0) + 1}`,
    });
    gateway.watchWorkers({
        onUpdate: (fleet, change) => `${fleet.workers.length} ${fleet.requests[0]?.title} ${change?.event}`,
    }).close();
    await worker.send({ kind: "eof" });
    await worker.resize({ cols: 80, rows: 24 });
    // @ts-expect-error: a worker is named by both halves
    gateway.worker({ worker_id: "w" });
    const { requests } = await worker.requests();
    for (const { request_id, options } of requests) await worker.answer(request_id, options[0]!.option_id);
    try {
        await watch.done;
    } catch (error) {
        if (error instanceof GatewayError && error.code === "worker_not_found") return error.outcome;
    }
    return made.end?.reason ?? watch.cursor ?? wrong.intent.kind;
}
