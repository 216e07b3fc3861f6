// The microphone over the WebSocket: what sounds now, and the events so far.

import * as api from "./api.js";
import { bars, verdict } from "./answer.js";
import { clock, el, plural } from "./dom.js";
import { EventList } from "./events.js";
import { Spectrogram } from "./spectrogram.js";
import { packed } from "./zip.js";

const SHOWN = 20, KEPT = 600; // seconds that are in view, and that are opened as a recording afterwards
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
	sounding = new Map();
	events = [];
	sound = [];
	source = new Columns();

	constructor(wanted, say, failed) {
		Object.assign(this, { wanted, say, failed });
		this.view = new Spectrogram(this.source, "Spectrogram of the last 20 seconds");
		this.list = new EventList(this.view, { of() {} }, () => {});
		this.now = el("div.answer", { "aria-live": "off" });
		this.root = el("article", { label: "Microphone" }, this.now,
			el("div.beside", el("div", this.view.root, this.list.lanes), el("div.listing", this.list.root)));
	}

	async start() {
		if (!navigator.mediaDevices) throw new api.Refused("Browsers give a page the microphone at localhost and over https only.");
		this.media = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false } })
			.catch(() => { throw new api.Refused("There is no microphone, or this page may not use it."); });
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
				const error = new api.Refused(this.error?.message ?? "The service has closed the stream.");
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
		if (loudest > this.source.loudest) this.view.tiles.clear();
		this.source.loudest = loudest;
		this.view.show(this.source.seconds - SHOWN, SHOWN);
		this.list.place();
	}

	take(message) {
		const key = `${message.task} ${message.label}`;
		if (message.type === "window") {
			const { known, labels } = message;
			this.now.replaceChildren(known ? verdict(labels[0].label, labels[0].task) : verdict(null, "no task fits"), bars(labels));
			for (const one of this.sounding.values()) one.end = message.end;
			this.say(`Listening: ${clock(message.end)}, ${plural(this.events.length, "event")}`);
		} else if (message.type === "event.begin") {
			this.sounding.set(key, { ...message, id: key, end: this.source.seconds });
		} else if (message.type === "event.end") {
			this.sounding.delete(key);
			this.events.push({ ...message, id: `${key} ${message.start}`, score: message.score_max });
		} else if (message.type === "lag") {
			this.say(`The service is ${message.seconds.toFixed(1)} s behind and has left out ${plural(message.dropped, "window")}.`);
		}
		if (message.type !== "session.created") this.list.set([...this.events, ...this.sounding.values()], []);
	}

	// Ends the stream, and returns the file that was recorded, if any.
	async stop() {
		this.stopping = true;
		if (this.socket.readyState === WebSocket.OPEN) {
			const ended = new Promise((done) => { this.ended = done; });
			this.socket.send(JSON.stringify({ type: "session.finish" }));
			await Promise.race([ended, new Promise((done) => setTimeout(done, 10_000))]);
			this.socket.close();
		}
		this.release();
		const time = new Date().toTimeString().slice(0, 8).replaceAll(":", "-"), sound = new Blob(this.sound);
		return sound.size ? [new File([wavHead(sound.size, this.context.sampleRate), sound], `microphone ${time}.wav`)] : [];
	}

	release() {
		for (const track of this.media.getTracks()) track.stop();
		this.context?.close();
	}
}

// The head of a WAV file: mono, 16 bits.
function wavHead(bytes, rate) {
	return packed([0x46464952, 4], [36 + bytes, 4], [0x45564157, 4], [0x20746d66, 4], [16, 4], [1, 2], [1, 2], [rate, 4], [2 * rate, 4], [2, 2], [16, 2], [0x61746164, 4], [bytes, 4]);
}
