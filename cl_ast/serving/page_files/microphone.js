// In the audio thread: hands on a tenth of a second at a time, as 16-bit numbers.

class Microphone extends AudioWorkletProcessor {
	constructor() {
		super();
		this.waiting = new Int16Array(Math.round(sampleRate / 10));
		this.count = 0;
	}

	process([[channel]]) {
		for (const value of channel ?? []) {
			this.waiting[this.count++] = Math.max(-32768, Math.min(32767, Math.round(value * 32768)));
			if (this.count === this.waiting.length) {
				this.port.postMessage(this.waiting.slice());
				this.count = 0;
			}
		}
		return true;
	}
}

registerProcessor("microphone", Microphone);
