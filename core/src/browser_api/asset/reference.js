// Shows the OpenAPI document of the gateway that this page came from. All that is shown is set as text, never as markup.

const byId = id => document.getElementById(id);
const message = byId("message");
// Behind a proxy the API may have a prefix: what stands before the path of this page.
const root = location.href.replace(/[?#].*$/, "").replace(/\/api$/, "");
const METHODS = ["get", "post", "put", "patch", "delete"];
let token = "";

/** An element with these properties and children; a child that is text is shown as it is. */
function element(name, properties, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children.filter(child => child !== undefined && child !== ""));
    return made;
}

/** A text in which what stands between backquotes is code. */
function prose(text = "") {
    return element("span", {}, ...text.split("`").map((part, at) => (at % 2 ? element("code", {}, part) : part)));
}

function ask(path, options = {}) {
    const headers = token ? { ...options.headers, authorization: `Bearer ${token}` } : options.headers;
    return fetch(root + path, { ...options, headers });
}

async function load() {
    const response = await ask("/api/openapi.json");
    byId("access").hidden = response.status !== 401;
    if (!response.ok) {
        message.textContent = response.status === 401
            ? "The gateway asks for its access token. This page keeps it until it is closed."
            : `${response.status}: ${(await response.text()).slice(0, 500)}`;
        return;
    }
    show(await response.json());
}

/** The value that a local reference of the document points to. */
function resolve(api, value) {
    if (!value?.$ref) return value;
    return value.$ref.slice(2).split("/").reduce((place, name) => place[name.replaceAll("~1", "/")], api);
}

function show(api) {
    message.replaceChildren(prose(`${api.info.title} ${api.info.version}. ${api.info.description}`));
    const sections = api.tags.map(({ name, description }) => {
        const routes = [];
        for (const [path, methods] of Object.entries(api.paths)) {
            for (const method of METHODS.filter(method => methods[method]?.tags.includes(name))) {
                routes.push(route(api, method, path, methods[method]));
            }
        }
        return section(name, description, routes);
    });
    const schemas = Object.entries(api.components.schemas).map(([name, schema]) => element("details",
        { id: `schema-${name}` }, element("summary", {}, element("code", {}, name)), shape(schema)));
    sections.push(section("schemas", "What bodies and replies are made of.", schemas));
    byId("reference").replaceChildren(...sections);
    byId("contents").replaceChildren(...sections.map(({ id }) => element("a", { href: `#${id}` }, id)));
}

function section(name, description, children) {
    return element("section", { id: name }, element("h2", {}, name), element("p", {}, prose(description)), ...children);
}

function route(api, method, path, operation) {
    const parameters = (operation.parameters ?? []).map(parameter => resolve(api, parameter));
    const content = operation.requestBody?.content["application/json"];
    const shown = element("details", { id: operation.operationId },
        element("summary", {}, element("span", { className: "method" }, method.toUpperCase()),
            element("code", {}, path), ` ${operation.summary}`),
        operation.description ? element("p", {}, prose(operation.description)) : "",
        parameters.length ? parameterTable(parameters) : "",
        content ? element("h4", {}, "Body") : "",
        content ? shape(content.schema) : "",
        element("h4", {}, "Responses"),
        responseTable(operation.responses));
    // A page cannot read an endless stream or a WebSocket by asking once.
    if (operation.tags[0] !== "streams") shown.append(form(method, path, parameters, content));
    return shown;
}

function table(heads, rows) {
    return element("table", {}, element("thead", {}, element("tr", {}, ...heads.map(head => element("th", {}, head)))),
        element("tbody", {}, ...rows.map(cells => element("tr", {}, ...cells.map(cell => element("td", {}, cell))))));
}

function parameterTable(parameters) {
    return table(["parameter", "in", "type", "meaning"], parameters.map(parameter => [
        element("code", {}, parameter.name),
        parameter.in + (parameter.required ? ", required" : ""),
        type(parameter.schema),
        prose(parameter.description),
    ]));
}

function responseTable(responses) {
    return table(["status", "meaning", "body"], Object.entries(responses).map(([status, response]) => {
        const [media, content] = Object.entries(response.content ?? {})[0] ?? ["", {}];
        const schema = content["x-itemSchema"] ?? content.schema?.allOf?.[0] ?? content.schema;
        return [status, prose(response.description), element("span", {}, media, " ", schema ? type(schema) : "")];
    }));
}

/** A schema in a few words, with links to those that have a name. */
function type(schema) {
    if (schema === undefined || schema === true) return "anything";
    if (schema.$ref) {
        const name = schema.$ref.split("/").at(-1);
        return element("a", { href: `#schema-${name}` }, name);
    }
    if ("const" in schema) return element("code", {}, JSON.stringify(schema.const));
    if (schema.enum) return schema.enum.map(value => JSON.stringify(value)).join(" or ");
    const choices = schema.oneOf ?? schema.anyOf;
    if (choices && !schema.properties) {
        return element("span", {}, ...choices.flatMap((choice, at) => (at ? [" or ", type(choice)] : [type(choice)])));
    }
    if (schema.type === "array") return element("span", {}, "list of ", type(schema.items));
    if (schema.additionalProperties?.type || schema.additionalProperties?.$ref) {
        return element("span", {}, "object of ", type(schema.additionalProperties));
    }
    return [schema.type ?? "anything"].flat().join(" or ");
}

/** A schema in full. */
function shape(schema) {
    const description = schema.description ? element("p", {}, prose(schema.description)) : "";
    if (schema.properties) {
        const required = schema.required ?? [];
        return element("div", {}, description, table(["field", "type", "meaning"],
            Object.entries(schema.properties).map(([name, field]) => [
                element("code", {}, required.includes(name) ? name : `${name}?`), type(field), prose(field.description),
            ])));
    }
    const choices = schema.oneOf ?? schema.anyOf;
    if (choices?.some(choice => choice.properties)) return element("div", {}, description, ...choices.map(shape));
    if (choices) {
        return element("div", {}, description, table(["value", "meaning"],
            choices.map(choice => [type(choice), prose(choice.description)])));
    }
    return element("div", {}, description, element("p", {}, type(schema)));
}

/** The means to ask this very gateway. */
function form(method, path, parameters, content) {
    const inputs = parameters.map(parameter => [parameter, element("input", { required: !!parameter.required })]);
    const example = Object.values(content?.examples ?? {})[0]?.value;
    const body = content && element("textarea", { value: example ? JSON.stringify(example, null, 2) : "" });
    const answer = element("pre", { hidden: true });
    const made = element("form", { className: "call" },
        ...inputs.map(([{ name }, input]) => element("label", {}, element("code", {}, name), input)),
        body ? element("label", {}, "Body", body) : "",
        element("button", {}, `Send ${method.toUpperCase()}`), answer);
    made.addEventListener("submit", async event => {
        event.preventDefault();
        answer.hidden = false;
        answer.textContent = await sent(method, path, inputs, body?.value).catch(String);
    });
    return made;
}

async function sent(method, path, inputs, body) {
    const query = new URLSearchParams();
    const headers = body ? { "content-type": "application/json" } : {};
    for (const [{ name, in: place }, { value }] of inputs.filter(([, input]) => input.value !== "")) {
        if (place === "path") path = path.replace(`{${name}}`, encodeURIComponent(value));
        else if (place === "query") query.append(name, value);
        else headers[name] = value;
    }
    const url = query.size ? `${path}?${query}` : path;
    const response = await ask(url, { method: method.toUpperCase(), headers, body: body || undefined });
    const text = await response.text();
    const isJson = /json/.test(response.headers.get("content-type") ?? "");
    return `${response.status} ${response.statusText}\n${isJson ? JSON.stringify(JSON.parse(text), null, 2) : text}`;
}

byId("access").addEventListener("submit", event => {
    event.preventDefault();
    token = byId("token").value;
    load().catch(error => { message.textContent = String(error); });
});
load().catch(error => { message.textContent = String(error); });
