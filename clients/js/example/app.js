// Watches a worker, shows what it says, and answers what it asks.

import { connect, isSnapshot } from "../sekisho.js";

const output = document.getElementById("output");
const state = document.getElementById("state");
const open = document.getElementById("requests");
const which = document.getElementById("which");
const say = document.getElementById("say");
let worker, watch;

/** What an event adds to the text; a snapshot begins it anew. */
function show(event) {
    const { event: name, data } = event.payload;
    if (isSnapshot(event)) {
        output.textContent = (data.entries ?? []).map(words).join("");
        return true;
    }
    if (name === "text_delta") output.append(data.text);
    else if (name === "user_message") output.append(`> ${words(data)}\n`);
    else if (name === "system_item" && data.item.kind === "stderr") output.append(data.item.text);
    return name === "system_item" && ["request", "request_resolved"].includes(data.item.kind);
}

function words({ content, text, segments }) {
    if (segments) return segments.map(segment => segment.content ?? "").join("");
    return `${content ?? text ?? ""}\n`;
}

async function showRequests() {
    const { requests } = await worker.requests();
    open.replaceChildren(...requests.map(request => {
        const section = document.createElement("section");
        section.append(request.title, document.createElement("br"));
        for (const { option_id, name } of request.options) {
            const button = document.createElement("button");
            button.textContent = name;
            button.value = option_id;
            button.onclick = () => attempt(() => worker.answer(request.request_id, option_id).then(showRequests));
            section.append(button);
        }
        return section;
    }));
}

/** Does it, and says what went wrong. */
async function attempt(action) {
    try {
        await action();
    } catch (error) {
        // A command that has certainly not happened can be given again.
        state.textContent = error.outcome === "unknown" ? `${error.message}: it may have happened` : error.message;
    }
}

which.addEventListener("submit", event => {
    event.preventDefault();
    watch?.close();
    const { url, token, ...name } = Object.fromEntries(new FormData(which));
    attempt(async () => {
        worker = connect({ url, token }).worker(name);
        watch = worker.watch({
            onEvent: event => { if (show(event)) attempt(showRequests); },
            onState: now => { state.textContent = now; },
        });
        await watch.done;
    });
});

say.addEventListener("submit", event => {
    event.preventDefault();
    const { line } = Object.fromEntries(new FormData(say));
    attempt(() => worker.send(line));
    say.reset();
});
