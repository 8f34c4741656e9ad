// Gateways that are scripts: no server is needed.

import { connect } from "../sekisho.js";

/** A gateway each of whose sockets does what the next script says, and what the sockets were asked for. */
export function scripted(...scripts) {
    const urls = [];
    class Socket extends EventTarget {
        constructor(url, protocols) {
            super();
            const { pathname, searchParams } = new URL(url);
            urls.push({ pathname, cursor: searchParams.get("cursor"), protocols });
            queueMicrotask(() => scripts.shift()?.(this));
        }

        opens() {
            this.dispatchEvent(new Event("open"));
        }

        says(frame) {
            this.dispatchEvent(Object.assign(new Event("message"), { data: JSON.stringify(frame) }));
        }

        closes(code) {
            this.dispatchEvent(Object.assign(new Event("close"), { code }));
        }

        close() {}
    }
    const fetch = async () => new Response(`{"code":"unauthorized","title":"-"}`, { status: 401 });
    return { gateway: connect({ url: "http://gateway.test/prefix", token: "t", WebSocket: Socket, fetch }), urls };
}
