// The page at `/`: whether the gateway is ready, and one worker, watched.
import { watch } from "./watch.js";

/** How many frames the page keeps. */
const MAX_FRAMES = 500;

/** How often it asks whether the gateway is ready, in milliseconds. */
const READY_EVERY = 5000;

const byId = id => document.getElementById(id);
const say = text => { byId("message").textContent = text; };
let stop = () => {};

async function askWhetherReady() {
    const said = await fetch("readyz").then(response => response.json(), () => ({ status: "not reachable" }));
    byId("ready").textContent = `This gateway is ${said.status}.`;
    setTimeout(askWhetherReady, READY_EVERY);
}

/** What a frame says: the words of a worker where it has some, else the payload as it came. */
function words({ kind, envelope, diagnostic, code }) {
    if (kind === "event") {
        const { event, data } = envelope.payload;
        if (typeof data?.text === "string") return `${event}: ${data.text.trimEnd()}`;
        if (!Array.isArray(data?.entries)) return JSON.stringify(envelope.payload);
        return [event, ...data.entries.map(({ role, content }) => `${role}: ${content}`)].join("\n");
    }
    if (kind === "diagnostic") return `${diagnostic.code}: ${diagnostic.message}`;
    return `the stream has ended (${code})`;
}

function show(frame) {
    const log = byId("frames");
    const atTheEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    const line = document.createElement("div");
    line.className = frame.kind;
    line.textContent = words(frame);
    log.append(line);
    while (log.childElementCount > MAX_FRAMES) log.firstElementChild.remove();
    if (atTheEnd) log.scrollTop = log.scrollHeight;
    if (frame.kind === "end") ended();
}

function ended() {
    byId("stop").disabled = true;
    say("");
}

/** Why a worker cannot be watched, or undefined. A page cannot read why a WebSocket did not open, so it asks first. */
async function obstacle(path, token) {
    const headers = token ? { authorization: `Bearer ${token}` } : {};
    const response = await fetch(path, { headers }).catch(() => undefined);
    if (response === undefined) return "The gateway cannot be reached.";
    if (response.ok) return undefined;
    const { code, detail } = await response.json();
    return `${code}: ${detail}`;
}

async function begin(name, token) {
    stop();
    ended();
    byId("frames").replaceChildren();
    const [runtime, worker] = name.split("/").map(encodeURIComponent);
    const path = `api/runtimes/${runtime}/workers/${worker}`;
    say("Asking for the worker …");
    const problem = await obstacle(path, token);
    if (problem !== undefined) return say(problem);
    const url = new URL(`${path}/events/ws`, document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    say(`Watching ${name}.`);
    byId("stop").disabled = false;
    stop = watch(url.href, show, { token });
}

byId("worker").addEventListener("submit", event => {
    event.preventDefault();
    const fields = new FormData(event.target);
    begin(fields.get("worker").trim(), fields.get("token").trim());
});

byId("stop").addEventListener("click", () => {
    stop();
    ended();
});

// A link may name the worker: /#runtime/worker
const linked = decodeURIComponent(location.hash.slice(1));
if (linked) {
    byId("worker").elements.worker.value = linked;
    byId("worker").requestSubmit();
}

byId("code").textContent = await fetch("watch.js").then(response => response.text());
askWhetherReady();
