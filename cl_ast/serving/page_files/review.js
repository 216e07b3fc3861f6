// Judgements of events, which download as folders: cl-ast add-task clips/ --negatives negatives/

import * as api from "./api.js";
import { el, save } from "./dom.js";
import { zip } from "./zip.js";

const LONGEST = 60; // seconds of a clip

export class Review {
	judged = new Map(); // of an event's id: the event and what it was judged

	constructor(place, file, changed) {
		Object.assign(this, { place, changed, stem: plain(file.replace(/\.\w+$/, "")) });
		this.shown = el("span.soft", { role: "status" });
		this.button = el("button", { onclick: () => this.download() }, "Download the clips");
		this.root = el("p.buttons", { hidden: true }, this.shown, this.button);
	}

	of(event) { return this.judged.get(event.id)?.what; }

	judge(event, what) {
		if (this.of(event) === what) this.judged.delete(event.id);
		else this.judged.set(event.id, { event, what });
		const count = (which) => [...this.judged.values()].filter((one) => one.what === which).length;
		this.root.hidden = !this.judged.size;
		this.shown.textContent = `${count("yes")} right, ${count("no")} wrong, ${count("unsure")} unsure `;
		this.button.disabled = !count("yes") && !count("no");
		this.changed();
	}

	async download() {
		const files = [];
		for (const { event, what } of this.judged.values()) {
			if (what === "unsure") continue;
			const { start } = event, end = Math.min(event.end, start + LONGEST), label = plain(event.label);
			const content = await api.blob(`${this.place}/sound?${new URLSearchParams({ start, end })}`);
			files.push({ name: `${what === "yes" ? `clips/${label}` : "negatives"}/${this.stem}_${start.toFixed(3)}-${end.toFixed(3)}_${label}.wav`, content });
		}
		save(await zip(files), `${this.stem}-reviewed.zip`);
	}
}

const plain = (text) => text.replace(/[^\p{L}\p{N}.+-]+/gu, "_").replace(/^\.+/, "").slice(0, 60) || "_";
