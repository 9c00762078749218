
// A widget on a page without a kernel: this module's `widget` with a model of its own.

class State {
  constructor(values) {
    this.values = values;
    this.listeners = new Map();
  }

  get(name) {
    return this.values[name];
  }

  set(name, value) {
    if (JSON.stringify(this.values[name]) === JSON.stringify(value)) return;
    this.values[name] = value;
    for (const react of [...(this.listeners.get(`change:${name}`) ?? [])]) react();
  }

  on(event, react) {
    this.listeners.set(event, [...(this.listeners.get(event) ?? []), react]);
  }

  off(event, react) {
    this.listeners.set(event, (this.listeners.get(event) ?? []).filter((one) => one !== react));
  }

  save_changes() {}
}

const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

for (const el of document.querySelectorAll("[data-vae-state]")) {
  const { state, binary } = JSON.parse(el.dataset.vaeState);
  delete el.dataset.vaeState; // another copy of this module must not start it again
  for (const [name, text] of Object.entries(binary)) {
    const { buffer } = bytes(text);
    state[name] = new DataView(buffer);
  }
  el.state = new State(state);
  widget.render({ model: el.state, el });
}
