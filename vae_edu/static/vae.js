// A trained VAE in the browser: its two networks, its likelihood, and exact inference on a grid.
//
// The same mathematics as the Python package, in double precision, without a library; tests hold
// the two together. A *model* is read by `readModels`; z is an array of two numbers, `levels` the
// grey levels of one image (integers 0 … L-1, one per pixel), and every log-probability is in nats.

const LOG_2PI = Math.log(2 * Math.PI);

const softplus = (a) => Math.max(a, 0) + Math.log1p(Math.exp(-Math.abs(a)));
const sigmoid = (a) => (a >= 0 ? 1 / (1 + Math.exp(-a)) : Math.exp(a) / (1 + Math.exp(a)));
const tanh = (a) => 1 - 2 / (Math.exp(2 * a) + 1); // Math.tanh takes several times as long
const clamp = (a, low, high) => Math.min(Math.max(a, low), high);
const add = (a, b) => a + b;

// --- networks ------------------------------------------------------------------------------------

const LANES = 4;

/**
 * Linear layers with tanh between them (none after the last), at several points: a list of their
 * outputs. A layer: {weight, bias}, weight [outputs, inputs].
 */
export function mlp(layers, points) {
  const results = [];
  for (let p = 0; p < points.length; p += LANES) {
    // Four points and two outputs at a time: sums that need not wait for one another, and one look
    // at a weight for four products. Where fewer points are left, the last one fills up.
    let lanes = Array.from({ length: LANES }, (_, k) =>
      Float64Array.from(points[Math.min(p + k, points.length - 1)]),
    );
    layers.forEach(({ weight, bias }, index) => {
      const [outputs, inputs] = [bias.length, lanes[0].length];
      const next = lanes.map(() => new Float64Array(outputs));
      const [x0, x1, x2, x3] = lanes;
      const [y0, y1, y2, y3] = next;
      for (let o = 0; o < outputs; o += 2) {
        const second = Math.min(o + 1, outputs - 1); // an odd number: the last twice
        const [w, v] = [o * inputs, second * inputs];
        let a0 = bias[o], a1 = a0, a2 = a0, a3 = a0; // prettier-ignore
        let b0 = bias[second], b1 = b0, b2 = b0, b3 = b0; // prettier-ignore
        for (let i = 0; i < inputs; i++) {
          const a = weight[w + i];
          const b = weight[v + i];
          a0 += a * x0[i];
          a1 += a * x1[i];
          a2 += a * x2[i];
          a3 += a * x3[i];
          b0 += b * x0[i];
          b1 += b * x1[i];
          b2 += b * x2[i];
          b3 += b * x3[i];
        }
        y0[o] = a0, y1[o] = a1, y2[o] = a2, y3[o] = a3; // prettier-ignore
        y0[second] = b0, y1[second] = b1, y2[second] = b2, y3[second] = b3; // prettier-ignore
      }
      if (index < layers.length - 1) {
        for (const y of next) for (let o = 0; o < outputs; o++) y[o] = tanh(y[o]);
      }
      lanes = next;
    });
    results.push(...lanes.slice(0, points.length - p));
  }
  return results;
}

/**
 * The models that Python described: `description.models` is a list of {label, family, unit, encoder,
 * decoder, …} whose networks are lists of [outputs, inputs], and `weights` holds all their float32
 * numbers, layer by layer, each layer's matrix before its bias.
 */
export function readModels(description, weights) {
  const numbers = new Float32Array(
    weights.buffer.slice(weights.byteOffset, weights.byteOffset + weights.byteLength),
  );
  let at = 0;
  const take = (n) => numbers.subarray(at, (at += n));
  const network = (shapes) =>
    shapes.map(([outputs, inputs]) => ({ weight: take(outputs * inputs), bias: take(outputs) }));
  return description.models.map((entry) => {
    const encoder = network(entry.encoder);
    return new Model(entry, description.levels, encoder, network(entry.decoder));
  });
}

class Model {
  constructor(entry, levels, encoder, decoder) {
    this.label = entry.label;
    this.unit = entry.unit;
    this.likelihood = new LIKELIHOODS[entry.family]({ ...entry, levels });
    this.encoder = encoder;
    this.decoder = decoder;
  }

  /** The encoder's q(z|x) = N(mean, diag sd²). */
  posterior(levels) {
    return this.posteriors([levels])[0];
  }

  posteriors(images) {
    const { likelihood } = this;
    const xs = images.map((levels) => likelihood.networkInput(likelihood.prepare(levels)));
    return mlp(this.encoder, xs).map(([m1, m2, v1, v2]) => ({
      mean: [m1, m2],
      sd: [Math.exp(0.5 * v1), Math.exp(0.5 * v2)],
    }));
  }

  /** The parameters of p(x|z), as the likelihood's methods take them. */
  decode(z) {
    return this.decodeAll([z])[0];
  }

  decodeAll(places) {
    return mlp(this.decoder, places);
  }

  /** log p(x|z) of an image. */
  logLikelihood(levels, z) {
    const likelihood = this.likelihood;
    return likelihood.score(likelihood.compile(this.decode(z)), likelihood.prepare(levels));
  }
}

// --- one pixel's distribution --------------------------------------------------------------------
// Each has mean, sd, logProb(x) and sample(random); masses have `values`, densities do not.

const normal = (mean, sd) => ({
  mean,
  sd,
  logProb: (x) => -0.5 * ((x - mean) / sd) ** 2 - Math.log(sd) - 0.5 * LOG_2PI,
  sample: (random) => mean + sd * random.normal(),
});

function continuousBernoulli(logit) {
  const near0 = Math.abs(logit) < 1e-2; // where the fractions are 0/0: their series
  return {
    logit,
    mean: near0 ? 0.5 + logit / 12 : 0.5 + 0.5 / Math.tanh(logit / 2) - 1 / logit,
    sd: Math.sqrt(
      near0 ? 1 / 12 - logit ** 2 / 240 : logit ** -2 - 0.25 * Math.sinh(logit / 2) ** -2,
    ),
    logProb: (x) => x * logit - softplus(logit) + logNorm(logit),
    sample(random) {
      const u = random.uniform();
      if (near0) return u + (logit * u * (1 - u)) / 2;
      // Written for logit < 0, where nothing overflows; the other half is its mirror image.
      const x = Math.log1p((logit > 0 ? 1 - u : u) * Math.expm1(-Math.abs(logit)));
      return logit > 0 ? 1 + x / logit : x / logit;
    },
  };
}

const logNorm = (logit) =>
  Math.abs(logit) < 1e-2 ? Math.LN2 + logit ** 2 / 12 : Math.log(logit / Math.tanh(logit / 2));

/** A distribution over the values 0 … n-1 by its log-masses. */
function discrete(logMasses) {
  const masses = Array.from(logMasses, Math.exp);
  const mean = masses.map((p, k) => p * k).reduce(add);
  return {
    values: masses.map((_, k) => k),
    mean,
    sd: Math.sqrt(masses.map((p, k) => p * (k - mean) ** 2).reduce(add)),
    logProb: (k) => logMasses[k],
    sample(random) {
      let u = random.uniform();
      const k = masses.findIndex((p) => (u -= p) < 0);
      return k < 0 ? masses.length - 1 : k;
    },
  };
}

// --- likelihoods ---------------------------------------------------------------------------------
// `f` are the decoder's numbers for one image. `compile(f)` turns them into a row of numbers from
// which `score(row, x)` has log p(x|z) in few operations: an exact posterior asks for the same z
// again and again.

class Likelihood {
  constructor({ dim, levels }) {
    this.dim = dim;
    this.levels = levels;
  }

  /** Grey levels into the family's support. */
  prepare(levels) {
    return Float64Array.from(levels);
  }

  networkInput(x) {
    return x.map((value) => value / (this.levels - 1));
  }

  /** A pixel value of this family (or a mean of such) as brightness in [0, 1]. */
  brightness(x) {
    return clamp(x / (this.levels - 1), 0, 1);
  }

  /** One unit of pixel value in units of brightness. */
  get brightnessStep() {
    return 1 / (this.levels - 1);
  }

  pixels(f) {
    return Array.from({ length: this.dim }, (_, i) => this.pixel(f, i));
  }

  meanImage(f) {
    return this.pixels(f).map((p) => this.brightness(p.mean));
  }

  /** Each pixel's standard deviation, in units of brightness. */
  spreadImage(f) {
    return this.pixels(f).map((p) => p.sd * this.brightnessStep);
  }

  /** A draw from p(x|z), as brightness. */
  drawImage(f, random) {
    return this.draw(f, random).map((x) => this.brightness(x));
  }

  draw(f, random) {
    return this.pixels(f).map((p) => p.sample(random));
  }
}

/** Densities over real pixels: level k stands for the centre of its bin, (k + ½) / L. */
class Density extends Likelihood {
  prepare(levels) {
    return Float64Array.from(levels, (k) => (k + 0.5) / this.levels);
  }

  networkInput(x) {
    return x;
  }

  brightness(x) {
    return clamp((x * this.levels - 0.5) / (this.levels - 1), 0, 1);
  }

  get brightnessStep() {
    return this.levels / (this.levels - 1);
  }
}

class Gaussian extends Density {
  constructor(options) {
    super(options);
    this.floor = options.floor; // the variance of rounding, below which no learned one goes
    this.fixed = options.variance; // one number a pixel, or null where it comes from z
  }

  variance(f, i) {
    return this.fixed ? this.fixed[i] : Math.exp(f[this.dim + i]) + this.floor;
  }

  pixel(f, i) {
    return normal(f[i], Math.sqrt(this.variance(f, i)));
  }

  compile(f) {
    const row = new Float64Array(2 * this.dim + 1);
    for (let i = 0; i < this.dim; i++) {
      const variance = this.variance(f, i);
      row[i] = f[i];
      row[this.dim + i] = 0.5 / variance;
      row[2 * this.dim] -= 0.5 * (LOG_2PI + Math.log(variance));
    }
    return row;
  }

  score(row, x) {
    let sum = row[2 * this.dim];
    for (let i = 0; i < this.dim; i++) sum -= (x[i] - row[i]) ** 2 * row[this.dim + i];
    return sum;
  }
}

/** Mean, log-variances, and a D x rank factor W of the covariance W Wᵀ + diag. */
class FullGaussian extends Density {
  constructor(options) {
    super(options);
    this.floor = options.floor;
    this.rank = options.rank;
  }

  variance(f, i) {
    return Math.exp(f[this.dim + i]) + this.floor;
  }

  factor(f, i, r) {
    return f[2 * this.dim + i * this.rank + r];
  }

  pixel(f, i) {
    let variance = this.variance(f, i);
    for (let r = 0; r < this.rank; r++) variance += this.factor(f, i, r) ** 2;
    return normal(f[i], Math.sqrt(variance));
  }

  draw(f, random) {
    const common = Array.from({ length: this.rank }, () => random.normal());
    return Array.from({ length: this.dim }, (_, i) => {
      const own = Math.sqrt(this.variance(f, i)) * random.normal();
      return common.reduce((x, e, r) => x + this.factor(f, i, r) * e, f[i] + own);
    });
  }

  // Σ⁻¹ = D⁻¹ - AᵀA with A = C⁻¹WᵀD⁻¹ and CCᵀ = I + WᵀD⁻¹W (Woodbury).
  compile(f) {
    const { dim, rank } = this;
    const row = new Float64Array((2 + rank) * dim + 1);
    let constant = 0;
    for (let i = 0; i < dim; i++) {
      const variance = this.variance(f, i);
      row[i] = f[i];
      row[dim + i] = 1 / variance;
      constant -= 0.5 * (LOG_2PI + Math.log(variance));
    }
    const c = Array.from({ length: rank }, () => new Float64Array(rank));
    for (let r = 0; r < rank; r++) {
      for (let s = 0; s <= r; s++) {
        let sum = r === s ? 1 : 0;
        for (let i = 0; i < dim; i++) {
          sum += this.factor(f, i, r) * this.factor(f, i, s) * row[dim + i];
        }
        for (let t = 0; t < s; t++) sum -= c[r][t] * c[s][t];
        c[r][s] = r === s ? Math.sqrt(sum) : sum / c[s][s];
      }
      constant -= Math.log(c[r][r]);
      for (let i = 0; i < dim; i++) {
        let a = this.factor(f, i, r) * row[dim + i];
        for (let s = 0; s < r; s++) a -= c[r][s] * row[(2 + s) * dim + i];
        row[(2 + r) * dim + i] = a / c[r][r];
      }
    }
    row[(2 + rank) * dim] = constant;
    return row;
  }

  score(row, x) {
    const { dim, rank } = this;
    let sum = row[(2 + rank) * dim];
    for (let i = 0; i < dim; i++) sum -= 0.5 * (x[i] - row[i]) ** 2 * row[dim + i];
    for (let r = 0, a = 2 * dim; r < rank; r++) {
      let product = 0;
      for (let i = 0; i < dim; i++, a++) product += row[a] * (x[i] - row[i]);
      sum += 0.5 * product ** 2;
    }
    return sum;
  }
}

/** Families whose log p(x|z) is linear in x: logits, and a constant. */
const LogitScore = (Base) =>
  class extends Base {
    compile(f) {
      const row = new Float64Array(this.dim + 1);
      for (let i = 0; i < this.dim; i++) {
        row[i] = this.logit(f, i);
        row[this.dim] += this.logConstant(row[i]);
      }
      return row;
    }

    score(row, x) {
      let sum = row[this.dim];
      for (let i = 0; i < this.dim; i++) sum += x[i] * row[i];
      return sum;
    }
  };

class Bernoulli extends LogitScore(Likelihood) {
  prepare(levels) {
    return Float64Array.from(levels, (k) => (k >= 0.5 * (this.levels - 1) ? 1 : 0));
  }

  networkInput(x) {
    return x;
  }

  brightness(x) {
    return x;
  }

  get brightnessStep() {
    return 1;
  }

  logit(f, i) {
    return f[i];
  }

  logConstant(logit) {
    return -softplus(logit);
  }

  pixel(f, i) {
    return discrete([-softplus(f[i]), -softplus(-f[i])]);
  }
}

class ContinuousBernoulli extends LogitScore(Density) {
  logit(f, i) {
    return this.levels * f[i]; // the network's outputs are in units of L
  }

  logConstant(logit) {
    return logNorm(logit) - softplus(logit);
  }

  pixel(f, i) {
    return continuousBernoulli(this.logit(f, i));
  }
}

/** Families over grey levels: `fill` writes a pixel's log-masses into a table. */
class Masses extends Likelihood {
  compile(f) {
    const row = new Float32Array(this.dim * this.levels); // float32: thousands of rows are kept
    for (let i = 0; i < this.dim; i++) this.fill(row, i * this.levels, f, i);
    return row;
  }

  score(row, x) {
    let sum = 0;
    for (let i = 0; i < this.dim; i++) sum += row[i * this.levels + x[i]];
    return sum;
  }

  pixel(f, i) {
    const logMasses = new Float64Array(this.levels);
    this.fill(logMasses, 0, f, i);
    return discrete(logMasses);
  }
}

class Categorical extends Masses {
  fill(table, at, f, i) {
    const { levels } = this;
    const logits = f.subarray(i * levels, (i + 1) * levels);
    let largest = -Infinity;
    for (let k = 0; k < levels; k++) if (logits[k] > largest) largest = logits[k];
    let sum = 0;
    for (let k = 0; k < levels; k++) sum += Math.exp(logits[k] - largest);
    const total = largest + Math.log(sum);
    for (let k = 0; k < levels; k++) table[at + k] = logits[k] - total;
  }
}

class DiscretizedLogistic extends Masses {
  fill(table, at, f, i) {
    const { dim, levels } = this;
    const loc = f[i] + 0.5;
    const inverseScale = Math.exp(-clamp(f[dim + i] - Math.log(4), -40, 40));
    // With s the sigmoid, s(a) - s(b) = s(a) s(-b) (1 - exp(b - a)): factors that never cancel.
    const binFactor = Math.log(-Math.expm1(-inverseScale / levels));
    for (let k = 0; k < levels; k++) table[at + k] = k % (levels - 1) ? binFactor : 0;
    for (let k = 1; k < levels; k++) {
      const edge = (k / levels - loc) * inverseScale;
      const above = softplus(edge); // -log s(-edge); and softplus(-edge) is softplus(edge) - edge
      table[at + k] -= above;
      table[at + k - 1] -= above - edge;
    }
  }
}

const LIKELIHOODS = {
  gaussian: Gaussian,
  "gaussian-full": FullGaussian,
  bernoulli: Bernoulli,
  "continuous-bernoulli": ContinuousBernoulli,
  categorical: Categorical,
  "discretized-logistic": DiscretizedLogistic,
};

/** Random numbers that are the same for the same seed (mulberry32; normals by Box and Muller). */
export function randomNumbers(seed) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const normal = () =>
    Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  return { uniform, normal };
}

// --- exact and approximate inference, prior N(0, I) in the plane ---------------------------------

const logPrior = (z) => -LOG_2PI - 0.5 * (z[0] ** 2 + z[1] ** 2);
const HOME = 4.5; // how far the first look goes, to each side, whatever the image
const COARSE = 4; // it takes one point in so many along each axis
const WIDE = 8; // beyond it, one point in so many
// So many nats below the highest point there may be more beside a point, by the step: a wide one may
// have missed a peak; what lies below the last is less than 1e-3 of the whole.
const BELOW = { 8: 18, 4: 18, 2: 12, 1: 10 };
const SETTLED = 0.01; // what half of the points may get wrong where all of them are enough
const MEMORY = 20e6; // numbers kept of points beyond the first look's, before starting again
const BLOCK = 64; // points decoded at a time

/**
 * The exact posterior on points of the same grid as Python's `exact.LatentGrid`: points x points
 * midpoints over [-halfWidth, halfWidth]². The first look takes every fourth point along each axis
 * near the origin, climbs the hills at its edge, and spreads where the posterior does, in wide
 * steps. Then points are added between those that matter, along the axis that asks for them, until
 * half of them give the same answer: for a smooth function such sums converge faster than any power
 * of the step. What the decoder says at a point is kept for the next image.
 */
export class LatentGrid {
  constructor(model, points = 200, halfWidth = HOME) {
    Object.assign(this, { model, points, halfWidth, step: (2 * halfWidth) / points });
    this.coarse = new Map();
    this.fine = new Map();
    this.kept = 0;
    // The points of a first look, and the outermost of its wide steps.
    this.from = Math.max(0, Math.round((halfWidth - HOME) / this.step)) + COARSE / 2;
    const ks = [];
    for (let k = this.from; k < points - this.from + COARSE / 2; k += COARSE) ks.push(k);
    this.home = ks.flatMap((i) => ks.map((j) => i * points + j));
    const wide = ks.filter((_, n) => n % (WIDE / COARSE) === 0);
    const ends = [wide[0], wide.at(-1)];
    this.edge = wide.flatMap((k) =>
      ends.flatMap((end) => [end * points + k, k * points + end]),
    );
  }

  /** Where the points of a stride begin, along an axis. */
  first(stride) {
    return this.from % stride;
  }

  /** Whether a point is one of those at these strides. */
  isAt(stride) {
    const [a, b] = stride.map((s) => this.first(s));
    return (at) =>
      (Math.floor(at / this.points) - a) % stride[0] === 0 &&
      ((at % this.points) - b) % stride[1] === 0;
  }

  coordinate(k) {
    return -this.halfWidth + this.step * (k + 0.5);
  }

  /** The place of a point; point `at` is number (at / points, at % points) along the axes. */
  place(at) {
    return [this.coordinate(Math.floor(at / this.points)), this.coordinate(at % this.points)];
  }

  /** Makes sure that `rows` holds what the decoder says at these points; yields now and then. */
  *decode(ats, rows) {
    const { model } = this;
    const missing = ats.filter((at) => !rows.has(at));
    for (let k = 0; k < missing.length; k += BLOCK) {
      const block = missing.slice(k, k + BLOCK);
      const places = block.map((at) => this.place(at));
      model.decodeAll(places).forEach((f, n) => {
        const row = model.likelihood.compile(f);
        if (rows === this.fine) this.kept += row.length;
        rows.set(block[n], row);
      });
      yield;
    }
  }

  /** The points themselves and those beside them, so far along each axis. */
  around(ats, [right, up]) {
    const { points } = this;
    const found = new Set();
    for (const at of ats) {
      const [i, j] = [Math.floor(at / points), at % points];
      for (let a = i - right; a <= i + right; a += right) {
        if (a < 0 || a >= points) continue;
        for (let b = j - up; b <= j + up; b += up) {
          if (b >= 0 && b < points) found.add(a * points + b);
        }
      }
    }
    return [...found];
  }

  /**
   * The posterior of an image: `log` is log p(x|z) p(z) at the points that matter and -Infinity
   * elsewhere, [points²] with the first latent first, known at every `stride[axis]`-th point from
   * `first[axis]` on; with log p(x), the mean and the sd, and whether the grid holds the `whole` of
   * it.
   */
  posterior(levels) {
    const steps = this.search(levels);
    for (;;) {
      const { value, done } = steps.next();
      if (done) return value;
    }
  }

  /** The same in steps of some milliseconds: yields the best so far (null at first), returns it. */
  *search(levels) {
    const { model, points } = this;
    if (this.kept > MEMORY) {
      this.fine.clear();
      this.kept = 0;
    }
    const x = model.likelihood.prepare(levels);
    const log = new Float64Array(points * points).fill(-Infinity);
    const seen = [];
    let highest = -Infinity;
    let found = null;
    const visit = function* (ats, rows) {
      const fresh = ats.filter((at) => log[at] === -Infinity);
      for (const _ of this.decode(fresh, rows)) yield found;
      for (const at of fresh) {
        log[at] = model.likelihood.score(rows.get(at), x) + logPrior(this.place(at));
        seen.push(at);
        highest = Math.max(highest, log[at]);
      }
    }.bind(this);
    const within = (nats) => (at) => log[at] > highest - nats;

    yield* visit(this.home, this.coarse);
    let stride = [WIDE, WIDE];
    const beside = (at) => this.around([at], stride);
    for (let at of this.edge) {
      // What is highest at the first look's edge may be the foot of a hill outside.
      if (beside(at).some((other) => log[other] > log[at])) continue;
      for (let top = -1; top !== at; ) {
        top = at;
        yield* visit(beside(top), this.coarse);
        at = beside(top).reduce((a, b) => (log[b] > log[a] ? b : a));
      }
    }
    for (let front = seen.filter(this.isAt(stride)); front.length; ) {
      const known = seen.length;
      yield* visit(this.around(front.filter(within(BELOW[WIDE])), stride), this.coarse);
      front = seen.slice(known);
    }
    const rim = (k) => k < WIDE || k >= points - WIDE;
    const whole = !seen.some(
      (at) => (rim(Math.floor(at / points)) || rim(at % points)) && within(BELOW[1])(at),
    );
    for (;;) {
      const lattice = seen.filter(this.isAt(stride));
      const first = stride.map((s) => this.first(s));
      found = { log, stride, first, whole, ...this.moments(log, lattice, highest, stride) };
      const finer = stride.map((s, axis) => (found.rough[axis] && s > 1 ? s / 2 : s));
      if (finer.every((s, axis) => s === stride[axis])) return found;
      stride = finer;
      const step = Math.min(...stride);
      const near = seen.filter(this.isAt(stride)).filter(within(BELOW[step]));
      yield* visit(this.around(near, stride), step < COARSE ? this.fine : this.coarse);
    }
  }

  /** log p(x), mean and sd; and along which axes half of the points would not do: it is `rough`. */
  moments(log, ats, highest, [right, up]) {
    // All of them; then every other row, column, and diagonal.
    const kinds = Array.from({ length: 4 }, () => new Float64Array(5));
    for (const at of ats) {
      if (log[at] < highest - 30) continue;
      const weight = Math.exp(log[at] - highest);
      const [a, b] = this.place(at);
      const row = Math.floor(Math.floor(at / this.points) / right) & 1;
      const column = Math.floor((at % this.points) / up) & 1;
      kinds.forEach((sums, kind) => {
        if ([true, row, column, row ^ column][kind]) {
          sums[0] += weight;
          sums[1] += weight * a;
          sums[2] += weight * b;
          sums[3] += weight * a * a;
          sums[4] += weight * b * b;
        }
      });
    }
    const area = right * up * this.step ** 2;
    const [all, ...halves] = kinds.map(([total, ...powers], kind) => {
      const [m1, m2, s1, s2] = powers.map((sum) => sum / total);
      return {
        logMarginal: highest + Math.log(total * area * (kind ? 2 : 1)),
        mean: [m1, m2],
        sd: [Math.sqrt(Math.max(s1 - m1 ** 2, 0)), Math.sqrt(Math.max(s2 - m2 ** 2, 0))],
      };
    });
    const near = (a, b, unit) => Math.abs(a - b) < SETTLED * unit;
    const [rows, columns, diagonals] = halves.map(
      ({ logMarginal, mean, sd }) =>
        near(logMarginal, all.logMarginal, 1) &&
        [0, 1].every((k) => near(mean[k], all.mean[k], sd[k]) && near(sd[k], all.sd[k], sd[k])),
    );
    const both = rows && columns && !diagonals;
    return { ...all, rough: [!rows || both, !columns || both] };
  }

  /**
   * The density p(z|x) at all (z₁, z₂) of two lists, z₂ by z₂, by cubic interpolation of its
   * logarithm.
   */
  densities({ log, logMarginal, stride, first }, firsts, seconds) {
    const { points } = this;
    const [columns, rows] = [firsts, seconds].map((list, axis) => {
      const known = Math.floor((points - 1 - first[axis]) / stride[axis]);
      return list.map((z) => {
        const at = ((z + this.halfWidth) / this.step - 0.5 - first[axis]) / stride[axis];
        const k = Math.floor(at);
        const from = first[axis] + (k - 1) * stride[axis];
        return { from, weights: cubic(at - k), inside: k >= 1 && k + 2 <= known };
      });
    });
    const values = new Float64Array(columns.length * rows.length);
    rows.forEach((row, r) =>
      columns.forEach((column, c) => {
        if (!row.inside || !column.inside) return;
        let sum = 0;
        for (let a = 0; a < 4; a++) {
          let at = (column.from + a * stride[0]) * points + row.from;
          for (let b = 0; b < 4; b++, at += stride[1]) {
            if (log[at] === -Infinity) return;
            sum += column.weights[a] * row.weights[b] * log[at];
          }
        }
        values[r * columns.length + c] = Math.exp(sum - logMarginal);
      }),
    );
    return values;
  }

  /** The density p(z|x) at one place. */
  density(posterior, [a, b]) {
    return this.densities(posterior, [a], [b])[0];
  }
}

// Catmull and Rom's weights: exact where the logarithm is quadratic, as a Gaussian's is.
const cubic = (t) => [
  0.5 * t * (-1 + t * (2 - t)),
  1 + 0.5 * t * t * (-5 + 3 * t),
  0.5 * t * (1 + t * (4 - 3 * t)),
  0.5 * t * t * (t - 1),
];

// Gauss and Hermite's 20 points for averages over a standard normal: exact to degree 39.
const NODES = [0.3469641570813559, 1.042945348802751, 1.7452473208141268, 2.458663611172368,
  3.1890148165533896, 3.9439673506573163, 4.734581334046055, 5.5787388058932015,
  6.510590157013654, 7.619048541679758].flatMap((node) => [-node, node]);
const NODE_WEIGHTS = [0.2607930634495548, 0.16173933398400003, 0.06150637206397696,
  0.013997837447100996, 0.0018301031310804924, 0.00012882627996192942, 4.4021210902308646e-06,
  6.127490259982928e-08, 2.4820623623151797e-10, 1.2578006724379264e-13].flatMap((weight) => [
  weight, weight]);
// Without the corners: half of the points, and nothing of the average.
const NODE_PAIRS = NODES.flatMap((e1, a) =>
  NODES.map((e2, b) => ({ e: [e1, e2], weight: NODE_WEIGHTS[a] * NODE_WEIGHTS[b] })),
).filter(({ weight }) => weight >= 1e-9);

/** Averages over q of log p(x|z) p(z), and of it times (ε, ε² - 1) along each axis. */
function averages(model, x, q) {
  const { likelihood } = model;
  const sums = { f: 0, slope: [0, 0], bend: [0, 0] };
  const places = NODE_PAIRS.map(({ e }) => e.map((value, k) => q.mean[k] + q.sd[k] * value));
  model.decodeAll(places).forEach((f, n) => {
    const { e, weight } = NODE_PAIRS[n];
    const weighted = weight * (likelihood.score(likelihood.compile(f), x) + logPrior(places[n]));
    sums.f += weighted;
    e.forEach((value, axis) => {
      sums.slope[axis] += weighted * value;
      sums.bend[axis] += weighted * (value ** 2 - 1);
    });
  });
  return sums;
}

/** The ELBO of an image under q = {mean, sd}: E_q[log p(x|z) p(z)] plus q's entropy. */
export function elbo(model, levels, q) {
  return withElbo(model, model.likelihood.prepare(levels), q).elbo;
}

function withElbo(model, x, q) {
  const sums = averages(model, x, q);
  const entropy = 1 + LOG_2PI + Math.log(q.sd[0]) + Math.log(q.sd[1]);
  return { ...q, sums, elbo: sums.f + entropy };
}

/**
 * The best q for this one image, step by step: yields ever better {mean, sd, elbo}. Natural
 * gradients of the ELBO, by Gauss and Hermite's averages (Khan & Lin 2017); where the ELBO would
 * fall, the step is halved instead.
 */
export function* refine(model, levels, q, steps = 100) {
  const x = model.likelihood.prepare(levels);
  let best = withElbo(model, x, q);
  for (let rate = 0.5, step = 0; step < steps && rate > 1e-3; step++) {
    const precision = best.sd.map((sd, axis) => {
      const target = -best.sums.bend[axis] / sd ** 2;
      return Math.max((1 - rate) * sd ** -2 + rate * target, 0.1 * sd ** -2);
    });
    const mean = best.mean.map(
      (m, axis) => m + (rate * best.sums.slope[axis]) / best.sd[axis] / precision[axis],
    );
    const next = withElbo(model, x, { mean, sd: precision.map((p) => 1 / Math.sqrt(p)) });
    const gain = next.elbo - best.elbo;
    if (gain < 0) {
      rate /= 2;
      continue;
    }
    best = next;
    rate = Math.min(1, 1.5 * rate);
    yield best;
    if (gain < 1e-7) return;
  }
}
