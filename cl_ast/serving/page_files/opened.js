// One recording that is open: its answer, its spectrogram with events, its sound, and how events are cut.

import * as api from "./api.js";
import { cut, LEAST_ON, unknownParts } from "./cut.js";
import { answerOf } from "./answer.js";
import { clock, el, plural } from "./dom.js";
import { EventList } from "./events.js";
import { exportsOf } from "./exports.js";
import { Player } from "./player.js";
import { Review } from "./review.js";
import { Spectrogram } from "./spectrogram.js";

const WHOLE = 60; // seconds, up to which a recording has one answer

export class Opened {
	constructor(file, recording, say) {
		this.recording = recording;
		this.place = `v1/recordings/${recording.id}`;
		this.say = say;
		this.scores = null;
		this.on = null; // as it was searched
		const source = {
			seconds: recording.seconds,
			loudest: recording.loudest,
			tile: (level, number) => api.bytes(`${this.place}/tiles/${level}/${number}`),
		};
		this.spectrogram = new Spectrogram(source, `Spectrogram of ${recording.file}, ${clock(recording.seconds, 1)} long. Its events are in the table.`);
		this.player = new Player(file, `${this.place}/sound`, recording.seconds, (time) => this.moved(time));
		this.review = new Review(this.place, recording.file, () => this.events.fill());
		this.events = new EventList(this.spectrogram, this.review, (event) => this.hear(event));
		this.spectrogram.onseek = (time) => { this.player.seek(time); };
		this.root = this.build();
	}

	build() {
		const button = (name, act, label) => el("button", { onclick: act, "aria-label": label }, name);
		const zoom = (factor) => () => this.spectrogram.zoom(factor);
		this.answer = el("div", { class: "answer" });
		this.scroll = el("input", { type: "range", min: 0, max: 1000, value: 0, class: "scroll-time", "aria-label": "Which part is shown",
			oninput: () => this.spectrogram.show((this.scroll.value / 1000) * (this.recording.seconds - this.length)) });
		this.spectrogram.onview = () => this.viewed();
		this.threshold = el("input", { type: "range", min: LEAST_ON, max: 0.98, step: 0.01, value: 0.6, id: "threshold", oninput: () => this.recut(+this.threshold.value) });
		this.shown = el("output", { for: "threshold" });
		this.reset = button("As found", () => this.recut(null), "Back to the threshold that was used in the search");
		this.exports = exportsOf(this.recording, this.place, () => this.on);
		this.viewed();
		return el("article", { "aria-label": this.recording.file },
			this.answer,
			el("div", { class: "bar" },
				this.player.button, this.player.shown,
				el("span", { class: "group", role: "group", "aria-label": "Zoom" }, button("−", zoom(2), "Farther"), button("+", zoom(0.5), "Nearer"), button("All", () => this.spectrogram.show(0, this.recording.seconds), "All of it")),
				el("span", { class: "group grow" }, el("label", { for: "threshold" }, "Threshold"), this.threshold, this.shown, this.reset)),
			el("div", { class: "beside" }, el("div", {}, this.spectrogram.root, this.events.lanes, this.scroll), el("div", { class: "listing" }, this.events.root, this.review.root, this.exports)),
			this.player.audio);
	}

	get length() { return this.spectrogram.end - this.spectrogram.start; }

	async search(wanted) {
		const query = String(wanted);
		if (query === this.query) { this.tell(); return; }
		this.stop?.abort();
		const stop = this.stop = new AbortController();
		this.query = null;
		this.scores = null;
		this.on = null;
		this.events.set([], []);
		try {
			await this.classify(wanted.get("task"));
			const job = await api.post(`${this.place}/events?${query}`);
			stop.signal.addEventListener("abort", () => api.remove(`v1/jobs/${job.id}`).catch(() => {}));
			const live = [];
			await api.follow(job.id, {
				progress: ({ seconds }) => this.say(`Searching ${this.recording.file}: ${clock(seconds)} of ${clock(this.recording.seconds)}`),
				event: (one) => {
					live.push({ ...one, score: one.score_max, mean: one.score_mean, id: `${one.task} ${one.label} ${one.start}` });
					this.events.set(live, []);
				},
			}, stop.signal);
			const scores = await api.json(`${this.place}/scores`);
			if (stop.signal.aborted) return;
			this.scores = scores;
			this.query = query;
			this.recut(null);
		} finally {
			if (!stop.signal.aborted && !this.scores) this.say("");
		}
	}

	async classify(task) {
		if (this.recording.seconds > WHOLE || task === "all") {
			this.answer.replaceChildren();
			return;
		}
		const { results } = await api.post(`${this.place}/classify?${new URLSearchParams({ task })}`);
		this.answer.replaceChildren(...answerOf(results[0]));
	}

	recut(on) {
		if (!this.scores) return;
		this.on = on;
		const tuned = new Set(this.scores.classes.map((one) => one.on));
		const value = on ?? (tuned.size === 1 ? [...tuned][0] : 0.6);
		this.threshold.value = value;
		this.shown.textContent = on === null && tuned.size > 1 ? "tuned" : value.toFixed(2);
		this.reset.disabled = on === null;
		this.events.set(cut(this.scores, on), unknownParts(this.scores));
		this.tell();
	}

	tell() {
		const { task, window, hop } = this.scores;
		const who = { auto: "the router's tasks", all: "every task" }[task] ?? task;
		this.say(`${plural(this.events.all.length, "event")} of ${who}, in windows of ${+window.toFixed(2)} s every ${+hop.toFixed(2)} s`);
	}

	viewed() {
		const hidden = this.recording.seconds - this.length;
		this.scroll.hidden = hidden < 0.001;
		if (hidden > 0) this.scroll.value = (1000 * this.spectrogram.start) / hidden;
		this.events.place();
	}

	moved(time) {
		this.spectrogram.play = time;
		if (this.player?.playing) this.spectrogram.reveal(time);
		this.spectrogram.draw();
	}

	hear(event) {
		this.spectrogram.reveal(event.start, event.end);
		this.player.play(event.start, event.end);
	}

	pause() { this.player.pause(); }

	close() {
		this.stop?.abort();
		this.player.close();
		api.remove(this.place).catch(() => {});
	}

	key(key) {
		const seek = Math.max(0.1, this.length / 20);
		const act = {
			" ": () => this.player.toggle(),
			ArrowLeft: () => this.player.seek(this.player.time - seek),
			ArrowRight: () => this.player.seek(this.player.time + seek),
			j: () => this.events.step(1),
			k: () => this.events.step(-1),
			y: () => this.events.judge("yes"),
			n: () => this.events.judge("no"),
			u: () => this.events.judge("unsure"),
			"+": () => this.spectrogram.zoom(0.5),
			"=": () => this.spectrogram.zoom(0.5),
			"-": () => this.spectrogram.zoom(2),
			0: () => this.spectrogram.show(0, this.recording.seconds),
		}[key];
		act?.();
		return Boolean(act);
	}
}
