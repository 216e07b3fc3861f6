// Plays a file from the browser's disk, or where it cannot, what the service has decoded.

import * as api from "./api.js";
import { clock, el } from "./dom.js";

export class Player {
	until = null;

	constructor(file, place, seconds, moved) {
		Object.assign(this, { seconds, moved });
		this.url = URL.createObjectURL(file);
		this.audio = el("audio", { preload: "metadata", src: this.url });
		this.button = el("button.primary", { onclick: () => this.toggle() }, "Play");
		this.shown = el("span.clock", { role: "timer", "aria-live": "off" });
		this.audio.addEventListener("error", () => this.fetchDecoded(place), { once: true });
		for (const kind of ["play", "pause", "seeked", "timeupdate"]) this.audio.addEventListener(kind, () => this.tick());
		this.tick();
	}

	get time() { return Math.min(this.seconds, this.audio.currentTime); }
	get playing() { return !this.audio.paused; }

	async fetchDecoded(place) {
		const sound = await api.blob(place), at = this.audio.currentTime;
		URL.revokeObjectURL(this.url);
		this.audio.src = this.url = URL.createObjectURL(sound);
		this.audio.currentTime = at;
		if (this.wanted) this.play(at, this.until);
	}

	play(from, until = null) {
		this.until = until;
		this.wanted = true;
		if (from != null) this.audio.currentTime = from;
		this.audio.play().catch(() => {}); // a kind that cannot be played: `error` comes too
	}

	pause() {
		this.wanted = false;
		this.audio.pause();
	}

	toggle() {
		if (this.playing) this.pause();
		else this.play(this.time >= this.seconds - 0.01 ? 0 : null);
	}

	seek(time) {
		this.until = null;
		this.audio.currentTime = Math.max(0, Math.min(this.seconds, time));
		this.tick();
	}

	tick() {
		if (this.until != null && this.time >= this.until && this.playing) {
			this.pause();
			this.audio.currentTime = this.until;
			this.until = null;
		}
		this.button.textContent = this.playing ? "Stop" : "Play";
		this.shown.textContent = `${clock(this.time, 1)} / ${clock(this.seconds, 1)}`;
		this.moved(this.time);
		if (this.playing) this.frame ??= requestAnimationFrame(() => { this.frame = null; this.tick(); });
	}

	close() {
		this.pause();
		URL.revokeObjectURL(this.url);
	}
}
