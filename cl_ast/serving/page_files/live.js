// The microphone over the WebSocket: what sounds now, a spectrogram that moves on, and the events so far.

import * as api from "./api.js";
import { bars } from "./answer.js";
import { clock, el, plural } from "./dom.js";
import { EventList } from "./events.js";
import { Spectrogram } from "./spectrogram.js";

const SHOWN = 20; // seconds
const KEPT = 600; // seconds that can be opened as a recording afterwards
const BANDS = 128, TILE = 512 * BANDS, MOST_TILES = 12;

// The columns so far, in tiles of which the last minutes are kept.
class Columns {
	grows = true;
	deepest = 0;
	loudest = 180;
	seconds = 0;
	tiles = [];
	room = 0;

	add(columns) {
		for (let at = 0, part; at < columns.length; at += part.length) {
			if (!this.room) this.room = this.tiles.push(new Uint8Array(TILE)) && TILE;
			part = columns.subarray(at, at + this.room);
			this.tiles.at(-1).set(part, TILE - this.room);
			this.room -= part.length;
			delete this.tiles[this.tiles.length - MOST_TILES];
		}
		this.seconds += columns.length / BANDS / 100;
	}

	columns(level, number) {
		const tile = this.tiles[number] ?? new Uint8Array(0);
		return number === this.tiles.length - 1 ? tile.subarray(0, TILE - this.room) : tile;
	}
}

export class Live {
	constructor(wanted, say, failed) {
		this.wanted = wanted;
		this.say = say;
		this.failed = failed;
		this.sounding = new Map();
		this.events = [];
		this.sound = [];
		this.source = new Columns();
		this.spectrogram = new Spectrogram(this.source, "Spectrogram of the microphone, the last 20 seconds");
		this.list = new EventList(this.spectrogram, { of: () => null }, () => {});
		this.now = el("div", { class: "answer", "aria-live": "off" });
		this.root = el("article", { "aria-label": "Microphone" }, this.now,
			el("div", { class: "beside" }, el("div", {}, this.spectrogram.root, this.list.lanes), el("div", { class: "listing" }, this.list.root)));
	}

	async start() {
		if (!navigator.mediaDevices) throw new api.Refused("insecure", "The browser gives the microphone only to this machine itself or over https.");
		this.media = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false } })
			.catch(() => { throw new api.Refused("microphone", "There is no microphone, or the browser does not let this page use it."); });
		try {
			this.context = new AudioContext();
			await this.context.audioWorklet.addModule("page/microphone.js");
			await this.connect();
		} catch (error) {
			this.release();
			throw error;
		}
		const node = new AudioWorkletNode(this.context, "microphone", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
		node.port.onmessage = ({ data }) => this.send(data);
		this.context.createMediaStreamSource(this.media).connect(node);
		await this.context.resume();
	}

	connect() {
		const socket = this.socket = api.socket("v1/stream");
		return new Promise((done, refused) => {
			const { task, window } = Object.fromEntries(this.wanted);
			socket.onopen = () => socket.send(JSON.stringify({ type: "session.update", sample_rate: this.context.sampleRate, task, spectrogram: true, ...(window && { window: +window }) }));
			socket.onmessage = ({ data }) => {
				if (data instanceof ArrayBuffer) return this.columns(new Uint8Array(data));
				const message = JSON.parse(data);
				if (message.type === "session.created") done();
				if (message.type === "error") this.error = message.error;
				this.take(message);
			};
			socket.onclose = () => {
				const error = new api.Refused("closed", this.error?.message ?? "The service has closed the stream.");
				refused(error);
				this.ended?.();
				if (!this.stopping) this.failed(error);
			};
		});
	}

	send(samples) {
		if (this.stopping || this.socket.readyState !== WebSocket.OPEN) return;
		this.socket.send(samples.buffer);
		this.sound.push(samples);
		if (this.sound.length > 10 * KEPT) this.sound.shift();
	}

	columns(columns) {
		this.source.add(columns);
		const loudest = Math.max(this.source.loudest, ...columns);
		if (loudest > this.source.loudest) {
			this.source.loudest = loudest;
			this.spectrogram.tiles.clear();
		}
		this.spectrogram.show(Math.max(0, this.source.seconds - SHOWN), SHOWN);
		this.spectrogram.end = this.spectrogram.start + SHOWN;
		this.list.place();
	}

	take(message) {
		const key = `${message.task} ${message.label}`;
		if (message.type === "window") {
			const best = message.labels[0];
			this.now.replaceChildren(
				message.known ? el("p", { class: "verdict" }, el("strong", {}, best.label), el("span", { class: "soft" }, ` ${best.task}`)) : el("p", { class: "verdict unknown" }, el("strong", {}, "unknown"), el("span", { class: "soft" }, " no task fits")),
				bars(message.labels, "Labels now"));
			for (const one of this.sounding.values()) one.end = message.end;
			this.say(`Listening: ${clock(message.end)}, ${plural(this.events.length, "event")}`);
		} else if (message.type === "event.begin") {
			this.sounding.set(key, { id: key, task: message.task, label: message.label, start: message.start, end: this.source.seconds, score: null });
		} else if (message.type === "event.end") {
			this.sounding.delete(key);
			this.events.push({ ...message, id: `${key} ${message.start}`, score: message.score_max });
		} else if (message.type === "lag") {
			this.say(`The service is ${message.seconds.toFixed(1)} s behind and has left out ${plural(message.dropped, "window")}.`);
		}
		if (message.type !== "session.created") this.list.set([...this.events, ...this.sounding.values()], []);
	}

	// Ends the stream, and returns what was recorded as a file.
	async stop() {
		this.stopping = true;
		if (this.socket.readyState === WebSocket.OPEN) {
			const ended = new Promise((done) => { this.ended = done; });
			this.socket.send(JSON.stringify({ type: "session.finish" }));
			await Promise.race([ended, new Promise((done) => setTimeout(done, 10_000))]);
			this.socket.close();
		}
		const rate = this.context.sampleRate;
		this.release();
		if (!this.sound.length) return null;
		const time = new Date().toTimeString().slice(0, 8).replaceAll(":", "-");
		return new File([wavHead(this.sound, rate), ...this.sound], `microphone ${time}.wav`, { type: "audio/wav" });
	}

	release() {
		for (const track of this.media.getTracks()) track.stop();
		this.context?.close();
	}
}

function wavHead(sound, rate) {
	const view = new DataView(new ArrayBuffer(44)), bytes = sound.reduce((sum, part) => sum + part.byteLength, 0);
	const word = (at, name) => [...name].forEach((letter, place) => view.setUint8(at + place, letter.charCodeAt(0)));
	word(0, "RIFF"); view.setUint32(4, 36 + bytes, true); word(8, "WAVEfmt "); view.setUint32(16, 16, true);
	view.setUint16(20, 1, true); view.setUint16(22, 1, true); view.setUint32(24, rate, true); view.setUint32(28, 2 * rate, true);
	view.setUint16(32, 2, true); view.setUint16(34, 16, true); word(36, "data"); view.setUint32(40, bytes, true);
	return view.buffer;
}
