// All workers of all runtimes, as the frames of their stream tell (docs/observation.md, "Watching all workers").

/** The state that frames make, applied in the order in which they come. */
export class Fleet {
    #runtimes = new Map();
    #awaited;

    /** Whether a state has come as a whole. */
    get complete() {
        return this.#awaited === 0;
    }

    /** The runtimes, in the order of the gateway's configuration. */
    get runtimes() {
        return this.#list("runtime");
    }

    /** The workers of all runtimes. */
    get workers() {
        return this.#list("workers");
    }

    /** Their open requests. */
    get requests() {
        return this.#list("requests");
    }

    #list(name) {
        return [...this.#runtimes.values()].flatMap(of => of[name]);
    }

    /** Takes a frame; the change, where it is one. */
    apply(frame) {
        if (frame.kind === "snapshot") {
            this.#runtimes.clear();
            this.#awaited = frame.runtimes;
        } else if (frame.kind === "runtime") {
            const { runtime, workers, requests } = frame;
            this.#runtimes.set(runtime.runtime_id, { runtime, workers, requests });
            this.#awaited -= 1;
        } else if (frame.kind === "change") {
            this.#change(frame.change);
            return frame.change;
        }
        return undefined;
    }

    #change(change) {
        const { event, runtime, worker, request } = change;
        const of = this.#runtimes.get((worker ?? request ?? runtime ?? change).runtime_id);
        const without = (list, same) => list.filter(it => !same(it));
        const isWorker = it => it.worker_id === (worker ?? change).worker_id;
        const isRequest = it => it.worker_id === change.worker_id && it.request_id === change.request_id;
        if (event === "runtime_changed") {
            if (of) of.runtime = runtime;
            else this.#runtimes.set(runtime.runtime_id, { runtime, workers: [], requests: [] });
        } else if (event === "runtime_gone") this.#runtimes.delete(change.runtime_id);
        else if (!of) return;
        else if (event === "worker_added") of.workers = [...without(of.workers, isWorker), worker];
        else if (event === "worker_changed") of.workers = of.workers.map(it => isWorker(it) ? worker : it);
        else if (event === "worker_gone") of.workers = without(of.workers, isWorker);
        else if (event === "request_opened") of.requests = [...of.requests, request];
        else if (event === "request_resolved") of.requests = without(of.requests, isRequest);
    }
}
