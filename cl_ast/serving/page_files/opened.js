// One recording: its answer, its spectrogram with events, its sound, and how events are cut.

import { answerOf } from "./answer.js";
import * as api from "./api.js";
import { cut, LEAST_ON, unknownParts } from "./cut.js";
import { clock, el, plural, save } from "./dom.js";
import { EventList } from "./events.js";
import { Player } from "./player.js";
import { Review } from "./review.js";
import { Spectrogram } from "./spectrogram.js";

const WHOLE = 60; // seconds, up to which a recording has one answer
const FORMS = [["JSON lines", "jsonl", ".jsonl"], ["CSV", "csv", ".csv"], ["Audacity", "audacity", ".txt"], ["Raven", "raven", ".selections.txt"]];

export class Opened {
	scores = null;
	on = null; // as it was searched

	constructor(file, { id, file: name, seconds, loudest }, say) {
		Object.assign(this, { name, seconds, say, place: `v1/recordings/${id}` });
		const tile = (level, number) => api.bytes(`${this.place}/tiles/${level}/${number}`);
		const view = this.view = new Spectrogram({ seconds, loudest, tile }, `Spectrogram of ${name}; its events are in the table`);
		this.player = new Player(file, `${this.place}/sound`, seconds, (time) => this.moved(time));
		this.review = new Review(this.place, name, () => this.events.fill());
		this.events = new EventList(view, this.review, (event) => this.hear(event));
		const button = (text, label, onclick) => el("button", { onclick, label }, text);
		this.answer = el("div.answer");
		this.scroll = el("input.scroll-time", { type: "range", max: 1000, label: "Which part is shown", oninput: () => view.show((this.scroll.value / 1000) * (seconds - view.length)) });
		this.threshold = el("input", { type: "range", min: LEAST_ON, max: 0.98, step: 0.01, id: "threshold", oninput: () => this.recut(+this.threshold.value) });
		this.shown = el("output", { for: "threshold" });
		this.reset = button("As found", null, () => this.recut(null));
		view.onview = () => this.viewed();
		view.onseek = (time) => this.player.seek(time);
		this.viewed();
		this.root = el("article", { label: name },
			this.answer,
			el("div.bar", this.player.button, this.player.shown,
				el("span.group", { role: "group", label: "Zoom" }, button("−", "Farther", () => view.zoom(2)), button("+", "Nearer", () => view.zoom(0.5)), button("All", "All of it", () => view.show(0, seconds))),
				el("span.group.grow", el("label", { for: "threshold" }, "Threshold"), this.threshold, this.shown, this.reset)),
			el("div.beside", el("div", view.root, this.events.lanes, this.scroll),
				el("div.listing", this.events.root, this.review.root,
					el("p.buttons", { role: "group", label: "Download the events" }, el("span.soft", "Download "), ...FORMS.map((form) => el("button", { onclick: () => this.download(...form) }, form[0]))))),
			this.player.audio);
	}

	async search(wanted) {
		const query = String(wanted);
		if (query === this.query) return this.tell();
		this.stop?.abort();
		const { signal } = this.stop = new AbortController();
		this.query = this.scores = null;
		this.events.set([], []);
		await this.classify(wanted.get("task"));
		const job = await api.post(`${this.place}/events?${query}`);
		signal.addEventListener("abort", () => api.remove(`v1/jobs/${job.id}`).catch(() => {}));
		let live = [];
		await api.follow(job.id, {
			progress: ({ seconds }) => this.say(`Searching ${this.name}: ${clock(seconds)} of ${clock(this.seconds)}`),
			event: (one) => this.events.set(live = [...live, { ...one, score: one.score_max, id: live.length }], []),
		}, signal);
		const scores = await api.json(`${this.place}/scores`);
		if (signal.aborted) return;
		Object.assign(this, { scores, query });
		this.recut(null);
	}

	async classify(task) {
		const whole = this.seconds <= WHOLE && task !== "all";
		const found = whole && await api.post(`${this.place}/classify?${new URLSearchParams({ task })}`);
		this.answer.replaceChildren(...(whole ? answerOf(found.results[0]) : []));
	}

	recut(on) {
		if (!this.scores) return;
		this.on = on;
		const tuned = new Set(this.scores.classes.map((one) => one.on)), value = on ?? (tuned.size === 1 ? [...tuned][0] : 0.6);
		this.threshold.value = value;
		this.shown.textContent = on === null && tuned.size > 1 ? "tuned" : value.toFixed(2);
		this.reset.disabled = on === null;
		this.events.set(cut(this.scores, on), unknownParts(this.scores));
		this.tell();
	}

	tell() {
		const { task, window, hop, notes } = this.scores, who = { auto: "the router's tasks", all: "every task" }[task] ?? task;
		this.say([`${plural(this.events.all.length, "event")} of ${who}, in windows of ${+window.toFixed(2)} s every ${+hop.toFixed(2)} s`, ...notes].join("; "));
	}

	async download(_, format, ending) {
		const query = new URLSearchParams({ format, ...(this.on !== null && { on: this.on }) });
		save(await api.text(`${this.place}/events?${query}`), this.name.replace(/\.\w+$/, "") + ending);
	}

	viewed() {
		const hidden = this.seconds - this.view.length;
		this.scroll.hidden = hidden < 0.001;
		this.scroll.value = (1000 * this.view.start) / hidden || 0;
		this.events.place();
	}

	moved(time) {
		this.view.play = time;
		if (this.player?.playing) this.view.reveal(time);
		this.view.draw();
	}

	hear(event) {
		this.view.reveal(event.start, event.end);
		this.player.play(event.start, event.end);
	}

	close() {
		this.stop?.abort();
		this.player.close();
		api.remove(this.place).catch(() => {});
	}

	// Does what a key is for; returns whether it is for anything.
	key(key) {
		const seek = (by) => () => this.player.seek(this.player.time + by * this.view.length);
		const zoom = (factor) => () => this.view.zoom(factor), judge = (what) => () => this.events.judge(what);
		const act = {
			" ": () => this.player.toggle(), ArrowLeft: seek(-0.05), ArrowRight: seek(0.05), j: () => this.events.step(1), k: () => this.events.step(-1),
			y: judge("yes"), n: judge("no"), u: judge("unsure"), "+": zoom(0.5), "=": zoom(0.5), "-": zoom(2), 0: () => this.view.show(0, this.seconds),
		}[key];
		act?.();
		return Boolean(act);
	}
}
