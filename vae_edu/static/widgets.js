// What the two widgets draw, and how they answer to mouse, finger and keyboard. The state lives in
// the widget's traits: a control sets a trait, and whoever sets it, the page follows.

import { LatentGrid, elbo, randomNumbers, readModels, refine } from "./vae.js";

// --- small tools ---------------------------------------------------------------------------------

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

const number = (value, digits = 2) => value.toFixed(digits).replace("-", "\u2212");

/** A canvas with one dot for each pixel of an image. */
function picture([height, width], label) {
  const canvas = element("canvas", { width, height, role: "img", "aria-label": label });
  const context = canvas.getContext("2d");
  const dots = context.createImageData(width, height);
  canvas.show = (brightness) => {
    for (let i = 0; i < brightness.length; i++) {
      dots.data.fill(Math.round(255 * brightness[i]), 4 * i, 4 * i + 3);
      dots.data[4 * i + 3] = 255;
    }
    context.putImageData(dots, 0, 0);
  };
  return canvas;
}

/** A sharp canvas of so many CSS pixels; `context` is scaled to them. */
function drawing(width, height, attributes) {
  const ratio = globalThis.devicePixelRatio || 1;
  const size = { width: Math.round(width * ratio), height: Math.round(height * ratio) };
  const canvas = element("canvas", { ...size, ...attributes });
  canvas.style.maxWidth = `${width}px`;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  return { canvas, context, width, height };
}

/** Where an event is on a canvas, as shares of its width and height. */
function place(event, canvas) {
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
}

/** Calls `move` with the place of the pointer while it is held down. */
function onDrag(canvas, move) {
  canvas.style.touchAction = "none";
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    move(place(event, canvas), event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.buttons) move(place(event, canvas), event);
  });
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

/** Calls `move` with the direction of an arrow key (up is +1) on a focused element. */
function onArrows(node, move) {
  node.tabIndex = 0;
  node.addEventListener("keydown", (event) => {
    const direction = ARROWS[event.key];
    if (!direction || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    move(direction, event);
  });
}

/** Buttons of which one is chosen. */
function choice(label, options, choose) {
  const buttons = options.map((option, i) =>
    element(
      "button",
      { type: "button", role: "radio", title: `key ${i + 1}`, onclick: () => choose(option) },
      option,
    ),
  );
  const node = element("div", { role: "radiogroup", "aria-label": label, class: "vae-choice" });
  node.append(...buttons);
  node.show = (chosen) =>
    options.forEach((option, i) => buttons[i].setAttribute("aria-checked", option === chosen));
  return node;
}

// --- what both widgets share ---------------------------------------------------------------------

/** A square of the latent plane on a canvas, `reach` to each side of `centre`. */
class Plane {
  constructor(size, attributes) {
    Object.assign(this, drawing(size, size, attributes), { size, centre: [0, 0], reach: 3.5 });
  }

  toPixel([a, b]) {
    const scale = this.size / (2 * this.reach);
    return [
      (a - this.centre[0] + this.reach) * scale,
      (this.reach - b + this.centre[1]) * scale,
    ];
  }

  fromShare([right, down]) {
    return [
      this.centre[0] + this.reach * (2 * right - 1),
      this.centre[1] + this.reach * (1 - 2 * down),
    ];
  }

  ellipse(mean, sd, color, dash = []) {
    const { context } = this;
    const scale = this.size / (2 * this.reach);
    context.setLineDash(dash);
    context.strokeStyle = color;
    context.beginPath();
    context.ellipse(...this.toPixel(mean), sd[0] * scale, sd[1] * scale, 0, 0, 2 * Math.PI);
    context.stroke();
    context.setLineDash([]);
  }

  /** Ticks at round numbers along the lower and left edge. */
  axes(color) {
    const { context, size, reach } = this;
    const step = [0.05, 0.1, 0.2, 0.5, 1, 2].find((s) => (2 * reach) / s <= 8) ?? 5;
    context.fillStyle = context.strokeStyle = color;
    context.font = "11px sans-serif";
    context.lineWidth = 1;
    [0, 1].forEach((axis) => {
      const middle = this.centre[axis];
      for (let k = Math.ceil((middle - reach) / step); k * step <= middle + reach; k++) {
        const z = [...this.centre];
        z[axis] = k * step;
        const at = this.toPixel(z)[axis];
        if (at < 20 || at > size - 14) continue;
        const text = number(k * step, step < 0.1 ? 2 : step < 1 ? 1 : 0);
        context.beginPath();
        if (axis === 0) {
          context.textAlign = "center";
          context.moveTo(at, size);
          context.lineTo(at, size - 4);
          context.fillText(text, at, size - 7);
        } else {
          context.textAlign = "left";
          context.moveTo(0, at);
          context.lineTo(4, at);
          context.fillText(text, 6, at + 4);
        }
        context.stroke();
      }
    });
    context.textAlign = "right";
    context.fillText("z\u2081", size - 4, size - 7);
    context.textAlign = "left";
    context.fillText("z\u2082", 4, 12);
  }
}

/** Models, images, switch, strip of test images: common to both widgets. */
class Page {
  constructor(widget, el, name) {
    this.widget = widget;
    this.description = widget.get("_description");
    this.models = readModels(this.description, widget.get("_weights"));
    const { shape, levels, labels } = this.description;
    this.shape = shape;
    this.levels = levels;
    this.dim = shape[0] * shape[1];
    this.labels = labels;
    const bytes = widget.get("_images");
    this.images = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.listeners = [];
    // With a tabindex a click anywhere in it gives it the keys.
    const attributes = { class: "vae-widget", role: "group", "aria-label": name, tabindex: -1 };
    this.root = element("div", attributes);
    this.root.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey || !this.key(event.key)) return;
      event.preventDefault();
      event.stopPropagation();
    });
    // JupyterLab would take a plain key for its own commands (M: make this cell text), unless the
    // focused element says no.
    this.root.addEventListener("focusin", ({ target }) =>
      target.setAttribute("data-lm-suppress-shortcuts", true),
    );
    el.append(this.root);
    this.switch = choice(
      "Decoder",
      this.models.map((model) => model.label),
      (label) => this.chooseDecoder(label),
    );
    this.status = element("div", { role: "status", "aria-live": "polite", class: "vae-unseen" });
    this.on("decoder image", () => this.showChoice());
    this.themes = new MutationObserver(() => this.restyle());
    this.themes.observe(document.body, { attributeFilter: ["data-jp-theme-name", "class"] });
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.scheme.addEventListener("change", (this.restyled = () => this.restyle()));
    // Colours are known once the page shows the widget.
    this.shown = new ResizeObserver(() => {
      this.shown.disconnect();
      this.restyle();
    });
    this.shown.observe(this.root);
  }

  get model() {
    return this.models.find(({ label }) => label === this.widget.get("decoder"));
  }

  levelsOf(image) {
    return this.images.subarray(image * this.dim, (image + 1) * this.dim);
  }

  set(values) {
    for (const [name, value] of Object.entries(values)) this.widget.set(name, value);
    // At once: the kernel's echo of an earlier value would undo one that it has not been told.
    // ipywidgets itself sends no faster than the kernel answers.
    this.widget.save_changes();
  }

  on(names, react) {
    for (const name of names.split(" ")) {
      this.widget.on(`change:${name}`, react);
      this.listeners.push([`change:${name}`, react]);
    }
  }

  close() {
    for (const [name, react] of this.listeners) this.widget.off(name, react);
    this.themes.disconnect();
    this.shown.disconnect();
    this.scheme.removeEventListener("change", this.restyled);
  }

  /** Answer to a key, or say that it has no meaning here. */
  key(key) {
    const option = this.models[Number(key) - 1];
    if (option) this.chooseDecoder(option.label);
    return Boolean(option);
  }

  chooseDecoder(label) {
    this.set({ decoder: label });
  }

  /** The encoder's means of all test images, and how far the plane must reach to show them. */
  meansOf(model) {
    model.means ??= model
      .posteriors(this.labels.map((_, n) => this.levelsOf(n)))
      .map(({ mean }) => mean);
    return model.means;
  }

  reach() {
    const means = this.models.flatMap((model) => this.meansOf(model));
    return means.reduce((most, z) => Math.max(most, ...z.map(Math.abs)), 3.2) * 1.05;
  }

  /** The text's colour, which says whether the theme is light or dark. */
  ink() {
    return getComputedStyle(this.root).color;
  }

  dark() {
    const [red, green, blue] = this.ink().match(/[\d.]+/g).map(Number);
    return red + green + blue > 380;
  }

  restyle() {}

  announce(text) {
    clearTimeout(this.announcing);
    this.announcing = setTimeout(() => (this.status.textContent = text), 500);
  }

  /** Ten test images a page, each above its reconstruction. */
  strip(choose) {
    const per = 10;
    const cells = Array.from({ length: per }, () => {
      const [data, mean] = [picture(this.shape, ""), picture(this.shape, "")];
      data.setAttribute("aria-hidden", true);
      mean.setAttribute("aria-hidden", true);
      const button = element("button", { type: "button", role: "radio" }, data, mean);
      return { data, mean, button };
    });
    cells.forEach(({ button }, k) =>
      button.addEventListener("click", () => choose(this.first + k)),
    );
    const turn = (pages) => {
      const last = per * Math.floor((this.labels.length - 1) / per);
      const first = this.first + per * pages;
      this.first = first > last ? 0 : first < 0 ? last : first;
      draw();
    };
    const node = element(
      "div",
      { class: "vae-strip" },
      element("button", { type: "button", title: "earlier images", onclick: () => turn(-1) }, "\u25C2"),
      element("div", { role: "radiogroup", "aria-label": "Test images", class: "vae-images" },
        ...cells.map(({ button }) => button)),
      element("button", { type: "button", title: "more images", onclick: () => turn(1) }, "\u25B8"),
    );
    const draw = () => {
      const { model } = this;
      const means = this.meansOf(model).slice(this.first, this.first + per);
      const decoded = model.decodeAll(means);
      cells.forEach(({ data, mean, button }, k) => {
        const image = this.first + k;
        button.style.visibility = image < this.labels.length ? "visible" : "hidden";
        if (image >= this.labels.length) return;
        const chosen = image === this.widget.get("image");
        button.setAttribute("aria-checked", chosen);
        button.setAttribute("aria-label", `test image ${image}, class ${this.labels[image]}`);
        const x = model.likelihood.prepare(this.levelsOf(image));
        data.show(Array.from(x, (value) => model.likelihood.brightness(value)));
        mean.show(model.likelihood.meanImage(decoded[k]));
      });
    };
    const follow = () => {
      this.first = per * Math.floor(this.widget.get("image") / per);
      draw();
    };
    this.on("decoder", draw);
    this.on("image", follow);
    follow();
    return node;
  }

  showChoice() {
    this.switch.show(this.widget.get("decoder"));
  }
}

function figure(canvas, ...caption) {
  const node = element("figure", {}, canvas, element("figcaption", {}, ...caption));
  node.style.maxWidth = canvas.style.maxWidth;
  return node;
}

// --- the decoder lab -----------------------------------------------------------------------------

class DecoderLab extends Page {
  constructor(widget, el) {
    super(widget, el, "Decoder lab");
    const label = "Latent plane. Arrow keys move z; with Shift, farther.";
    this.plane = new Plane(360, { role: "application", "aria-label": label, class: "vae-plane" });
    this.plane.reach = this.reach();
    onDrag(this.plane.canvas, (share) => this.move(this.plane.fromShare(share)));
    onArrows(this.plane.canvas, ([right, up], { shiftKey }) => {
      const step = shiftKey ? 0.5 : 0.1;
      const [a, b] = widget.get("z");
      this.move([a + step * right, b + step * up]);
    });
    this.pictures = ["mean", "draw", "spread"].map((name) => this.pixelPicture(name));
    this.histogram = drawing(330, 190, { role: "img", class: "vae-histogram" });
    this.about = element("div", { class: "vae-about" });
    this.score = element("div", { class: "vae-score" });
    this.again = element(
      "button",
      { type: "button", title: "key N", onclick: () => this.drawAgain() },
      "New draw",
    );
    this.tiles = element(
      "button",
      { type: "button", title: "key M", onclick: () => this.toggleManifold() },
      "Manifold",
    );
    const captions = [
      ["mean of p(x|z)"],
      ["a draw from p(x|z)"],
      ["spread: each pixel\u2019s standard deviation (white: 0.5)"],
    ];
    this.root.append(
      element("div", { class: "vae-bar" }, this.switch, this.again, this.tiles),
      element(
        "div",
        { class: "vae-columns" },
        figure(this.plane.canvas, "the latent plane: drag the point, or use the arrow keys"),
        element(
          "div",
          { class: "vae-decoded" },
          element(
            "div",
            { class: "vae-pictures" },
            ...this.pictures.map(({ frame }, i) => figure(frame, ...captions[i])),
          ),
          this.about,
          this.histogram.canvas,
          this.score,
        ),
      ),
      this.strip((image) => this.chooseImage(image)),
      this.status,
    );
    this.on("decoder view", () => this.background());
    this.on("decoder z seed", () => this.decode());
    this.on("pixel image", () => this.showPixel());
    this.background();
    this.decode();
    this.showChoice();
  }

  restyle() {
    this.background();
    this.decode();
  }

  key(key) {
    if (key === "n") this.drawAgain();
    else if (key === "m") this.toggleManifold();
    else return super.key(key);
    return true;
  }

  move(z) {
    // Beyond the plane there is nothing to see: the point stops at its edge.
    const { reach } = this.plane;
    this.set({ z: z.map((value) => Math.min(Math.max(value, -reach), reach)) });
  }

  chooseDecoder(label) {
    // One model's z says nothing in another's plane: the chosen image is what stays.
    const { means } = this.models.find((model) => model.label === label);
    this.set({ decoder: label, z: means[this.widget.get("image")] });
  }

  chooseImage(image) {
    this.set({ image, z: this.meansOf(this.model)[image] });
  }

  drawAgain() {
    this.set({ seed: this.widget.get("seed") + 1 });
  }

  toggleManifold() {
    this.set({ view: this.widget.get("view") === "points" ? "manifold" : "points" });
  }

  pixelPicture(name) {
    const canvas = picture(this.shape, name);
    const [height, width] = this.shape;
    const mark = element("div", { class: "vae-mark" });
    const frame = element("div", { class: "vae-picture" }, canvas, mark);
    mark.style.width = `${100 / width}%`;
    mark.style.height = `${100 / height}%`;
    const to = (row, column) => {
      const inside = (k, n) => Math.min(Math.max(k, 0), n - 1);
      this.set({ pixel: inside(row, height) * width + inside(column, width) });
    };
    onDrag(canvas, ([right, down]) => to(Math.floor(down * height), Math.floor(right * width)));
    onArrows(canvas, ([right, up]) => {
      const pixel = this.widget.get("pixel");
      to(Math.floor(pixel / width) - up, (pixel % width) + right);
    });
    return { name, canvas, mark, frame };
  }

  /** The part of the plane that does not change with z, drawn once. */
  background() {
    const { plane, model } = this;
    const { context, size } = plane;
    context.clearRect(0, 0, size, size);
    const tiled = this.widget.get("view") === "manifold";
    this.tiles.setAttribute("aria-pressed", tiled);
    if (tiled) this.drawTiles(model);
    const { prior } = this.description.colors;
    context.lineWidth = 1;
    for (const radius of [1, 2, 3]) plane.ellipse([0, 0], [radius, radius], prior);
    if (!tiled) {
      context.font = "bold 10px sans-serif";
      context.textAlign = "center";
      const { classColors } = this.description;
      this.meansOf(model).forEach((z, n) => {
        const color = classColors[this.labels[n] % classColors.length];
        context.fillStyle = color === "#000000" ? this.ink() : color;
        const [right, down] = plane.toPixel(z);
        context.fillText(this.labels[n], right, down + 3.5);
      });
    }
    context.shadowColor = "black"; // light numbers with a dark edge are readable on the tiles
    context.shadowBlur = tiled ? 4 : 0;
    plane.axes(tiled ? "white" : this.ink());
    context.shadowBlur = 0;
    const { canvas } = plane;
    this.still ??= element("canvas", { width: canvas.width, height: canvas.height });
    const still = this.still.getContext("2d");
    still.clearRect(0, 0, canvas.width, canvas.height);
    still.drawImage(canvas, 0, 0);
    this.drawPoint();
  }

  drawTiles(model) {
    const { plane, shape } = this;
    const n = 15;
    const tile = picture(shape, "");
    plane.context.imageSmoothingEnabled = false;
    const side = plane.size / n;
    const corners = Array.from({ length: n * n }, (_, k) => [k % n, Math.floor(k / n)]);
    const places = corners.map((at) => plane.fromShare(at.map((k) => (k + 0.5) / n)));
    model.decodeAll(places).forEach((f, k) => {
      tile.show(model.likelihood.meanImage(f));
      const [right, down] = corners[k];
      plane.context.drawImage(tile, right * side, down * side, side - 1, side - 1);
    });
  }

  drawPoint() {
    const { plane } = this;
    const { context, canvas, size } = plane;
    context.clearRect(0, 0, size, size);
    context.drawImage(this.still, 0, 0, size, size);
    const [right, down] = plane.toPixel(this.widget.get("z"));
    for (const [color, width] of [["white", 5], ["black", 2]]) {
      context.strokeStyle = color;
      context.lineWidth = width;
      context.beginPath();
      context.arc(right, down, 8, 0, 2 * Math.PI);
      context.stroke();
    }
    const [a, b] = this.widget.get("z");
    canvas.setAttribute("aria-valuetext", `z = (${number(a)}, ${number(b)})`);
  }

  /** Everything that follows from z. */
  decode() {
    const { likelihood } = this.model;
    this.f = this.model.decode(this.widget.get("z"));
    const random = randomNumbers(this.widget.get("seed"));
    const [mean, draw, spread] = this.pictures;
    mean.canvas.show(likelihood.meanImage(this.f));
    draw.canvas.show(likelihood.drawImage(this.f, random));
    spread.canvas.show(likelihood.spreadImage(this.f).map((sd) => Math.min(2 * sd, 1)));
    this.drawPoint();
    this.showPixel();
  }

  showPixel() {
    const { model, histogram } = this;
    const { likelihood } = model;
    const [, width] = this.shape;
    const index = this.widget.get("pixel");
    const [row, column] = [Math.floor(index / width), index % width];
    for (const { mark } of this.pictures) {
      mark.style.left = `${(100 * column) / width}%`;
      mark.style.top = `${(100 * row) / this.shape[0]}%`;
    }
    const pixel = likelihood.pixel(this.f, index);
    const image = this.widget.get("image");
    const x = likelihood.prepare(this.levelsOf(image));
    this.about.textContent =
      `pixel in row ${row + 1}, column ${column + 1}: ${describePixel(model, pixel)}`;
    const color = this.description.colors.likelihood;
    drawPixel(histogram, pixel, likelihood, x[index], color, this.ink());
    const z = this.widget.get("z");
    const total = likelihood.score(likelihood.compile(this.f), x);
    const text =
      `log p(x|z) of test image ${image} (a ${this.labels[image]}) at z = ` +
      `(${number(z[0])}, ${number(z[1])}): ${number(total)} ${model.unit}`;
    this.score.textContent = text;
    histogram.canvas.setAttribute("aria-label", this.about.textContent);
    this.announce(`${model.label}. ${text}`);
  }
}

/** A pixel's distribution in words. */
function describePixel(model, pixel) {
  if (model.likelihood.levels && pixel.values?.length === 2 && model.unit.includes("black")) {
    return `two bars, P(white) = ${number(Math.exp(pixel.logProb(1)))}`;
  }
  const moments = `mean ${number(pixel.mean)}, standard deviation ${number(pixel.sd, 3)}`;
  if (pixel.values) return `a bar for each of ${pixel.values.length} grey levels, ${moments} levels`;
  const family = pixel.logit === undefined ? "Gaussian" : "continuous Bernoulli";
  return `a density, ${family}, ${moments}`;
}

/** Bars for masses, a curve for a density, and a line at the chosen image's value. */
function drawPixel({ context, width, height }, pixel, likelihood, value, color, ink) {
  const [left, right, top, bottom] = [44, 8, 16, 30];
  const [inner, tall] = [width - left - right, height - top - bottom];
  const masses = pixel.values;
  const gaussian = !masses && pixel.logit === undefined;
  const [low, high] = masses
    ? [-0.5, masses.length - 0.5]
    : gaussian
      ? [Math.min(-0.25, pixel.mean - 4 * pixel.sd), Math.max(1.25, pixel.mean + 4 * pixel.sd)]
      : [-0.02, 1.02];
  const across = (x) => left + (inner * (x - low)) / (high - low);
  // A narrow density falls between evenly spaced points: its own surroundings are added.
  const points = masses ?? curvePoints(pixel, gaussian ? [low, high] : [0, 1]);
  const heights = points.map((x) => Math.exp(pixel.logProb(x)));
  const most = masses && masses.length > 2 ? Math.max(...heights) : Math.max(1, ...heights);
  const up = (h) => top + tall * (1 - h / most);
  context.clearRect(0, 0, width, height);
  context.fillStyle = context.strokeStyle = color;
  context.lineWidth = 2;
  if (masses) {
    const side = inner / masses.length;
    heights.forEach((h, k) =>
      context.fillRect(across(k) - 0.4 * side, up(h), 0.8 * side, top + tall - up(h)),
    );
  } else {
    context.beginPath();
    points.forEach((x, k) => context.lineTo(across(x), up(heights[k])));
    context.stroke();
  }
  context.strokeStyle = context.fillStyle = ink;
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(left, top);
  context.lineTo(left, top + tall);
  context.lineTo(width - right, top + tall);
  context.stroke();
  context.setLineDash([4, 3]);
  context.beginPath();
  context.moveTo(across(value), top);
  context.lineTo(across(value), top + tall);
  context.stroke();
  context.setLineDash([]);
  context.font = "11px sans-serif";
  context.textAlign = "right";
  context.fillText(number(most, most < 10 ? 2 : 0), left - 4, top + 8);
  context.fillText("0", left - 4, top + tall);
  context.textAlign = "center";
  const ticks = masses ? masses.filter((k) => k % Math.ceil(masses.length / 9) === 0) : [0, 0.5, 1];
  for (const tick of ticks) context.fillText(String(tick), across(tick), top + tall + 13);
  const axis = !masses ? "pixel value" : masses.length === 2 ? "black (0) or white (1)" : "grey level";
  context.fillText(axis, left + inner / 2, height - 3);
  context.save();
  context.translate(12, top + tall / 2);
  context.rotate(-Math.PI / 2);
  context.fillText(masses ? "probability" : "density", 0, 0);
  context.restore();
  context.textAlign = across(value) > width / 2 ? "right" : "left";
  const side = across(value) > width / 2 ? -4 : 4;
  context.fillText("this image", across(value) + side, top - 5);
}

function curvePoints(pixel, [low, high]) {
  const even = Array.from({ length: 201 }, (_, k) => low + ((high - low) * k) / 200);
  const near = Array.from({ length: 81 }, (_, k) => pixel.mean + (pixel.sd * (k - 40)) / 8);
  return [...even, ...near.filter((x) => x >= low && x <= high)].sort((a, b) => a - b);
}

// --- the posterior microscope --------------------------------------------------------------------

const PATIENCE = 50; // milliseconds without an answer that a painting hand forgives

class PosteriorMicroscope extends Page {
  constructor(widget, el) {
    super(widget, el, "Posterior microscope");
    const label = "The image. Arrow keys move the brush, Space paints, Delete erases.";
    this.paper = picture(this.shape, label);
    this.paper.setAttribute("role", "application");
    this.cursor = element("div", { class: "vae-mark" });
    const [height, width] = this.shape;
    this.cursor.style.width = `${100 / width}%`;
    this.cursor.style.height = `${100 / height}%`;
    this.at = [height >> 1, width >> 1];
    this.mean = picture(this.shape, "mean of p(x|z) at the mean of q");
    onDrag(this.paper, ([right, down], { type }) => {
      const to = [Math.floor(down * height), Math.floor(right * width)];
      this.stroke(type === "pointerdown" ? to : this.at, to, this.erasing);
    });
    onArrows(this.paper, ([right, up]) => {
      const inside = (k, n) => Math.min(Math.max(k, 0), n - 1);
      this.at = [inside(this.at[0] - up, height), inside(this.at[1] + right, width)];
      this.showCursor();
    });
    this.paper.addEventListener("keydown", (event) => {
      const erase = event.key === "Delete" || event.key === "Backspace";
      if (!erase && event.key !== " " && event.key !== "Enter") return;
      event.preventDefault();
      this.stroke(this.at, this.at, erase || this.erasing);
    });
    const button = (text, title, onclick) =>
      element("button", { type: "button", title, onclick }, text);
    this.eraser = button("Eraser", "paint black", () => {
      this.eraser.setAttribute("aria-pressed", !this.erasing);
    });
    this.eraser.setAttribute("aria-pressed", false);
    this.fit = button("Refine q", "fit q to this one image", () => this.refineSlowly());
    const plane = (size, words) =>
      new Plane(size, { role: "img", "aria-label": words, class: "vae-plane" });
    this.far = plane(220, "the posterior in the whole latent plane");
    this.far.reach = this.reach();
    this.near = plane(340, "the posterior under the microscope");
    this.numbers = element("table", { class: "vae-numbers" });
    this.gap = element("div", { class: "vae-gap" });
    this.unit = element("div", { class: "vae-about" });
    this.root.append(
      element("div", { class: "vae-bar" }, this.switch),
      element(
        "div",
        { class: "vae-columns" },
        element(
          "div",
          { class: "vae-paper" },
          figure(element("div", { class: "vae-picture" }, this.paper, this.cursor),
            "x: paint with mouse or finger"),
          element(
            "div",
            { class: "vae-bar" },
            this.eraser,
            button("Blank", "an empty image", () => this.paint(new Array(this.dim).fill(0))),
            button("Undo", "the test image again", () =>
              this.paint([...this.levelsOf(widget.get("image"))])),
          ),
          figure(this.mean, "its reconstruction: mean of p(x|z) at the mean of q"),
        ),
        figure(this.near.canvas, "bright: the exact p(z|x); ellipses: the encoder\u2019s q(z|x), " +
          "1\u03C3 and 2\u03C3; dashed: q refined for this x"),
        element(
          "div",
          { class: "vae-side" },
          figure(this.far.canvas, "the same in the whole plane"),
          this.numbers,
          this.gap,
          this.fit,
          this.unit,
        ),
      ),
      this.strip((image) => this.set({ image, levels: [...this.levelsOf(image)] })),
      this.status,
    );
    this.on("levels decoder", () => this.look());
    this.on("refined", () => {
      if (!widget.get("refined") || this.best) return;
      if (this.busy) this.work(Infinity);
      this.refineNow();
    });
    this.showCursor();
    this.showChoice();
    this.look();
  }

  get busy() {
    return this.root.getAttribute("aria-busy") === "true";
  }

  get erasing() {
    return this.eraser.getAttribute("aria-pressed") === "true";
  }

  close() {
    super.close();
    this.stop();
  }

  restyle() {
    if (this.exact) this.draw();
  }

  paint(levels) {
    this.set({ levels });
  }

  showCursor() {
    const [row, column] = this.at.map((k, axis) => Math.min(Math.max(k, 0), this.shape[axis] - 1));
    this.cursor.style.left = `${(100 * column) / this.shape[1]}%`;
    this.cursor.style.top = `${(100 * row) / this.shape[0]}%`;
  }

  /** Paint or erase from one pixel to another: a quick hand skips those between. */
  stroke(from, to, erase) {
    const levels = [...this.widget.get("levels")];
    const n = Math.max(1, ...to.map((end, axis) => Math.abs(end - from[axis])));
    for (let k = 0; k <= n; k++) {
      const at = from.map((start, axis) => Math.round(start + ((to[axis] - start) * k) / n));
      this.brush(levels, at, erase);
    }
    this.at = to;
    this.showCursor();
    this.paint(levels);
  }

  /** Full in the middle, less around it. */
  brush(levels, [row, column], erase) {
    const [height, width] = this.shape;
    const scale = Math.max(1, Math.min(height, width) / 14); // a brush fit for the image's size
    const highest = this.levels - 1;
    for (let i = 0; i < height; i++) {
      for (let j = 0; j < width; j++) {
        const distance = Math.hypot(i - row, j - column) / scale;
        const k = i * width + j;
        if (erase) levels[k] = distance < 0.8 ? 0 : levels[k];
        else if (distance < 1.2) {
          const ink = Math.round(highest * (distance < 0.5 ? 1 : 0.35));
          levels[k] = Math.max(levels[k], ink);
        }
      }
    }
  }

  /** A new image or decoder: everything again. */
  look() {
    this.stop();
    this.best = null;
    const { model } = this;
    const levels = this.widget.get("levels");
    const x = model.likelihood.prepare(levels);
    this.paper.show(Array.from(x, (value) => model.likelihood.brightness(value)));
    this.q = model.posterior(levels);
    this.mean.show(model.likelihood.meanImage(model.decode(this.q.mean)));
    this.exact = null;
    this.fit.disabled = true;
    this.root.setAttribute("aria-busy", true);
    // So wide for images so odd that their posterior leaves the prior's home.
    model.grid ??= new LatentGrid(model, 800, 18);
    this.search = model.grid.search(levels);
    this.work(PATIENCE);
  }

  /** Search on for some milliseconds, show what is there, let the page breathe, and go on. */
  work(patience) {
    const until = performance.now() + patience;
    let step;
    do step = this.search.next();
    while (!step.done && performance.now() < until);
    const before = this.exact;
    this.exact = step.value;
    if (!step.done) {
      if (this.exact !== before) this.draw();
      this.showNumbers();
      this.soon = setTimeout(() => this.work(PATIENCE));
      return;
    }
    this.q.elbo = elbo(this.model, this.widget.get("levels"), this.q);
    this.root.setAttribute("aria-busy", false);
    this.fit.disabled = false;
    this.report();
    this.draw();
  }

  stop() {
    cancelAnimationFrame(this.frame);
    clearTimeout(this.soon);
  }

  /** Refine q a step a frame, so that it is seen to move. */
  refineSlowly() {
    const { model } = this;
    const steps = refine(model, this.widget.get("levels"), this.q);
    this.fit.disabled = true;
    const step = () => {
      const { value, done } = steps.next();
      if (value) this.best = value;
      this.draw();
      if (done) this.finish();
      else this.frame = requestAnimationFrame(step);
    };
    step();
  }

  refineNow() {
    for (const step of refine(this.model, this.widget.get("levels"), this.q)) this.best = step;
    this.draw();
    this.finish();
  }

  finish() {
    this.best ??= this.q; // the encoder's q was the best already
    this.fit.disabled = true;
    this.report();
  }

  report() {
    const { exact, q, best, model } = this;
    const gap = exact.logMarginal - q.elbo;
    const result = {
      decoder: model.label,
      log_marginal: exact.logMarginal,
      elbo: q.elbo,
      gap,
      mean: q.mean,
      sd: q.sd,
    };
    if (best) {
      result.approximation = exact.logMarginal - best.elbo;
      result.amortization = best.elbo - q.elbo;
      result.refined_mean = best.mean;
      result.refined_sd = best.sd;
    }
    this.set({ result, refined: Boolean(best) });
    this.showNumbers(result);
    this.announce(
      `log p(x) ${number(exact.logMarginal)}, ELBO ${number(q.elbo)}, gap ${number(gap)} nats`,
    );
  }

  /** The table and the bar; without a result, what is not known yet. */
  showNumbers(result) {
    const row = (name, value) =>
      element(
        "tr",
        {},
        element("th", { scope: "row" }, name),
        element("td", {}, value === undefined ? "\u2026" : number(value)),
      );
    const { log_marginal, elbo, gap, approximation, amortization } = result ?? {};
    this.numbers.replaceChildren(
      row(this.exact?.whole === false ? "log p(x), at least" : "log p(x), exact", log_marginal),
      row("ELBO of q", elbo),
      row("gap = KL(q \u2016 p(z|x))", gap),
      ...(this.best && result
        ? [row("\u2003approximation: left", approximation),
          row("\u2003amortization: gone", amortization)]
        : []),
    );
    this.unit.textContent = this.model.unit;
    const [left, gone] = this.best && result ? [approximation, amortization] : [gap ?? 0, 0];
    const scale = 100 / Math.max(1, gap ?? 0);
    this.gap.replaceChildren(
      ...[["vae-left", left], ["vae-gone", gone]].map(([name, nats]) => {
        const part = element("span", { class: name });
        part.style.width = `${Math.max(0, nats) * scale}%`;
        return part;
      }),
    );
  }

  draw() {
    const { exact, q, best, far, near } = this;
    const spread = [[exact.mean, exact.sd], [q.mean, q.sd]];
    // Both distributions fit in, and the view holds still while the hand paints within it.
    const ends = (axis) => spread.flatMap(([m, s]) => [m[axis] - 3 * s[axis], m[axis] + 3 * s[axis]]);
    const spans = [0, 1].map((axis) => [Math.min(...ends(axis)), Math.max(...ends(axis))]);
    near.centre = spans.map(([low, high]) => (low + high) / 2);
    near.reach = Math.max(0.2, ...spans.map(([low, high]) => (high - low) / 2));
    for (const plane of [far, near]) this.drawPosterior(plane, plane === near);
    far.context.strokeStyle = "white";
    far.context.lineWidth = 1;
    const [left, top] = far.toPixel([near.centre[0] - near.reach, near.centre[1] + near.reach]);
    const side = (near.reach / far.reach) * far.size;
    far.context.strokeRect(left, top, side, side);
    const color = this.description.colors["approximate posterior"];
    near.context.lineWidth = 2;
    for (const k of [1, 2]) {
      near.ellipse(q.mean, q.sd.map((sd) => k * sd), color);
      if (best) near.ellipse(best.mean, best.sd.map((sd) => k * sd), "#56b4e9", [5, 4]);
    }
  }

  drawPosterior(plane, fine) {
    const n = fine ? 136 : 110;
    this.scratch ??= new Map();
    if (!this.scratch.has(plane)) {
      this.scratch.set(plane, element("canvas", { width: n, height: n }));
    }
    const canvas = this.scratch.get(plane);
    const context = canvas.getContext("2d");
    const dots = context.createImageData(n, n);
    const middles = Array.from({ length: n }, (_, k) => plane.fromShare(Array(2).fill((k + 0.5) / n)));
    const [right, up] = [0, 1].map((axis) => middles.map((z) => z[axis]));
    const values = this.model.grid.densities(this.exact, right, up);
    const most = values.reduce((a, b) => Math.max(a, b), 0) || 1;
    values.forEach((value, k) => {
      const color = HEAT[Math.round(Math.sqrt(value / most) * (HEAT.length - 1))];
      dots.data.set(color, 4 * k);
    });
    context.putImageData(dots, 0, 0);
    plane.context.imageSmoothingEnabled = true;
    plane.context.drawImage(canvas, 0, 0, plane.size, plane.size);
    if (!fine) {
      plane.context.lineWidth = 1;
      for (const radius of [1, 2, 3]) {
        plane.ellipse([0, 0], [radius, radius], "#7fb4dd");
      }
    }
    plane.axes("#dddddd");
  }
}

/** Black over the posterior's own colour to white, opaque. */
const HEAT = Array.from({ length: 256 }, (_, k) => [...heat(k / 255), 255]);

function heat(share) {
  const stops = [[12, 8, 20], [96, 52, 82], [204, 121, 167], [255, 240, 250]];
  const at = Math.min(share, 0.9999) * (stops.length - 1);
  const k = Math.floor(at);
  return stops[k].map((from, i) => from + (at - k) * (stops[k + 1][i] - from));
}

// --- the entry that anywidget calls --------------------------------------------------------------

const PAGES = { lab: DecoderLab, microscope: PosteriorMicroscope };

export default {
  render({ model, el }) {
    const page = new PAGES[model.get("_kind")](model, el);
    return () => page.close();
  },
};
