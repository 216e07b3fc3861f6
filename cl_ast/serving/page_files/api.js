// Talks to the service. A key is wanted at most once, and kept for this tab only.

import { $ } from "./dom.js";

const KEPT = "cl-ast-key";
let asking = null;

export class Refused extends Error {} // whose message is for people

async function ask(path, options = {}) {
	const key = sessionStorage.getItem(KEPT);
	const headers = key ? { ...options.headers, Authorization: `Bearer ${key}` } : options.headers;
	const reply = await fetch(path, { ...options, headers }).catch((error) => {
		throw error.name === "AbortError" ? error : new Refused("The service cannot be reached. Is it still running?");
	});
	if (reply.status === 401) {
		await wantKey(key);
		return ask(path, options);
	}
	if (!reply.ok) {
		const { error } = await reply.json().catch(() => ({ error: { message: reply.statusText } }));
		throw new Refused(error.message);
	}
	return reply;
}

function wantKey(wrong) {
	asking ??= new Promise((done) => {
		if (wrong) $("key-hint").textContent = "That key does not fit. Try another.";
		const dialog = $("key-dialog");
		dialog.showModal();
		dialog.addEventListener("close", () => {
			sessionStorage.setItem(KEPT, $("key").value.trim());
			$("key").value = "";
			asking = null;
			done();
		}, { once: true });
	});
	return asking;
}

export const json = async (path, options) => (await ask(path, options)).json();
export const text = async (path) => (await ask(path)).text();
export const bytes = async (path, options) => new Uint8Array(await (await ask(path, options)).arrayBuffer());
export const blob = async (path) => (await ask(path)).blob();
export const post = (path, body) => json(path, { method: "POST", body, headers: { "Content-Type": "application/octet-stream" } });
export const remove = (path) => ask(path, { method: "DELETE" });

export function sendFile(path, file) {
	const form = new FormData();
	form.append("file", file, file.name);
	return json(path, { method: "POST", body: form });
}

// Follows a job to its end. EventSource could not send a key.
export async function follow(job, on, signal) {
	const reader = (await ask(`v1/jobs/${job}/stream`, { signal })).body.pipeThrough(new TextDecoderStream()).getReader();
	for (let waiting = ""; ; ) {
		const { value, done } = await reader.read();
		if (done) throw new Refused("The service has ended.");
		const blocks = (waiting + value).split("\n\n");
		waiting = blocks.pop();
		for (const block of blocks) {
			const kind = block.match(/^event: (.*)$/m)[1], data = JSON.parse(block.match(/^data: (.*)$/m)[1]);
			if (kind === "error") throw new Refused(data.message);
			if (kind === "done") return;
			on[kind]?.(data);
		}
	}
}

export function socket(path) {
	const url = new URL(path, document.baseURI);
	url.protocol = url.protocol.replace("http", "ws");
	const key = sessionStorage.getItem(KEPT);
	const made = new WebSocket(url, key ? ["cl-ast", `cl-ast.key.${btoa(key).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}`] : []);
	made.binaryType = "arraybuffer";
	return made;
}
