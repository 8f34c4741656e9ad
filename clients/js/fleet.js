// All workers of all runtimes, as the frames of their stream tell (docs/observation.md, "Watching all workers").

/** The state that frames make, applied in the order in which they come. */
export class Fleet {
    /** What was told as a whole last, with the changes since; none before the first time. */
    #runtimes;
    /** What is being told, and how many runtimes of it are still to come. */
    #coming;
    #missing = 0;
    #position;

    /** Whether there is a state. While another one is being told, it is the one before. */
    get complete() {
        return this.#runtimes !== undefined;
    }

    /** The runtimes, in the order in which the gateway tells them: by their ids, and new ones last. */
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
        return [...this.#runtimes?.values() ?? []].flatMap(of => of[name]);
    }

    /** Takes that a connection begins: what was begun on the one before is not gone on with. */
    restart() {
        this.#coming = undefined;
        this.#position = undefined;
    }

    /**
     * Takes a frame. The change, where it is one, and null where a state has come as a whole; undefined where there is nothing
     * to be seen yet. Throws a RangeError where the frames are not in order.
     */
    apply(frame) {
        if (frame.kind === "snapshot") {
            this.#coming = new Map();
            this.#missing = frame.runtimes;
            this.#position = frame.position;
            return this.#arrived();
        }
        if (frame.kind === "runtime") {
            const { runtime, workers, requests } = frame;
            if (this.#coming === undefined || this.#coming.has(runtime.runtime_id)) throw outOfOrder();
            this.#coming.set(runtime.runtime_id, { runtime, workers, requests });
            return this.#arrived();
        }
        if (frame.kind === "change") {
            if (this.#coming !== undefined || frame.position !== this.#position + 1) throw outOfOrder();
            this.#position = frame.position;
            this.#change(frame.change);
            return frame.change;
        }
        return undefined;
    }

    #arrived() {
        if (this.#coming.size < this.#missing) return undefined;
        this.#runtimes = this.#coming;
        this.#coming = undefined;
        return null;
    }

    #change(change) {
        const { event, runtime, worker, request } = change;
        const of = this.#runtimes.get((worker ?? request ?? runtime ?? change).runtime_id);
        const isWorker = it => it.worker_id === (worker ?? change).worker_id;
        const { worker_id, request_id } = request ?? change;
        const isRequest = it => it.worker_id === worker_id && it.request_id === request_id;
        if (event === "runtime_changed") {
            if (of) of.runtime = runtime;
            else this.#runtimes.set(runtime.runtime_id, { runtime, workers: [], requests: [] });
        } else if (event === "runtime_gone") this.#runtimes.delete(change.runtime_id);
        else if (!of) return;
        else if (event === "worker_added" || event === "worker_changed") of.workers = replaced(of.workers, isWorker, worker);
        else if (event === "worker_gone") of.workers = of.workers.filter(it => !isWorker(it));
        // One of which something else is told now is opened again.
        else if (event === "request_opened") of.requests = replaced(of.requests, isRequest, request);
        else if (event === "request_resolved") of.requests = of.requests.filter(it => !isRequest(it));
    }
}

/** A list with this in the place of what is the same, or at its end. */
function replaced(list, isSame, now) {
    return list.some(isSame) ? list.map(it => isSame(it) ? now : it) : [...list, now];
}

function outOfOrder() {
    return new RangeError("the frames of the stream are not in order");
}
