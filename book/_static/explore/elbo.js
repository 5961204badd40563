/* Chapter 11: drag q over the posterior of the toy model. ELBO and gap change, their sum does not. */

"use strict";

course.explorable("elbo", (stage, { v, b, c, x }) => {
  const { element, plot, handle, path, density, say, text, change } = course;

  // (11.6): the posterior; (11.5): the evidence
  const s2 = 1 / (1 + (v * v) / c);
  const m = (v * (x - b) * s2) / c;
  const total = v * v + c;
  const logP = -0.5 * (Math.log(2 * Math.PI * total) + (x - b) ** 2 / total);

  const elbo = (mu, sigma) => {
    const error = (x - b - v * mu) ** 2 + (v * sigma) ** 2; // its mean under q
    const kl = 0.5 * (mu * mu + sigma * sigma - 1) - Math.log(sigma);
    return -0.5 * Math.log(2 * Math.PI * c) - error / (2 * c) - kl;
  };
  const gap = (mu, sigma) =>
    0.5 * ((sigma * sigma + (mu - m) ** 2) / s2 - 1) - Math.log(sigma / Math.sqrt(s2));

  const codes = plot({
    x: [-2.4, 3.2], y: [0, 1.5], ticks: { x: [-2, -1, 0, 1, 2, 3] },
    labels: { x: "code z" }, title: "densities over the code",
  });
  const grid = Array.from({ length: 281 }, (_, i) => -2.4 + 0.02 * i);
  const bell = (mu, sigma) => path(codes, grid.map((z) => [z, density(z, mu, sigma)]));
  const curve = element("path", { class: "line color-1" });
  codes.ink.append(
    element("path", { class: "area", d: `${bell(m, Math.sqrt(s2))}Z` }),
    text(...codes.at(-2.3, 1.36), "posterior", "start", "muted"),
    text(...codes.at(-2.3, 1.22), "q: drag its middle and its edge", "start", "color-1"),
    curve,
  );

  const low = -12;
  const nats = plot({
    height: 110, x: [low, -1.2], y: [0, 1], ticks: { x: [-12, -10, -8, -6, -4, -2] },
    labels: { x: "nats, from −12" }, title: "ELBO and gap",
  });
  const bars = ["color-0", "color-1"].map((k) => element("rect", { class: `bar ${k}` }));
  const [px, py] = nats.at(logP, 1);
  const foot = nats.at(logP, 0)[1];
  const names = ["ELBO", "gap"].map((name) => text(0, 0, name, "middle", "on-bar"));
  nats.ink.append(
    ...bars,
    ...names,
    element("line", { class: "mark", x1: px, x2: px, y1: py - 6, y2: foot }),
    text(px + 6, py + 6, "ln p(x)"),
  );

  const said = element("p", { class: "explore-says", role: "status" });
  let sigma = 1;
  const middle = handle(codes, {
    label: "mean of q", x: 0, y: 0, axes: "x", step: 0.05,
    say: (a) => `mean ${say(a)}`, moved: show,
  });
  const edge = handle(codes, {
    label: "standard deviation of q", x: 1, y: 0, axes: "x", step: 0.05,
    say: (a) => `standard deviation ${say(Math.abs(a - middle.x))}`,
    moved: () => {
      sigma = Math.min(Math.max(Math.abs(edge.x - middle.x), 0.1), 2.8); // one side has room
      show();
    },
  });

  function show() {
    const mu = middle.x;
    const top = density(mu, mu, sigma);
    middle.lie(mu, Math.min(top, 1.45));
    const side = mu + sigma > codes.range.x[1] ? -1 : 1;
    edge.lie(mu + side * sigma, Math.min(density(mu + sigma, mu, sigma), 1.45));
    curve.setAttribute("d", bell(mu, sigma));
    const bound = elbo(mu, sigma);
    const from = nats.at(low, 0.85)[0];
    const at = Math.max(nats.at(bound, 0)[0], from);
    change(bars[0], { x: from, width: at - from, y: nats.at(0, 0.85)[1], height: 0.7 * (foot - py) });
    change(bars[1], { x: at, width: px - at, y: nats.at(0, 0.85)[1], height: 0.7 * (foot - py) });
    change(names[0], { x: (from + at) / 2, y: (py + foot) / 2 + 4, opacity: at - from > 44 ? 1 : 0 });
    change(names[1], { x: (at + px) / 2, y: (py + foot) / 2 + 4, opacity: px - at > 34 ? 1 : 0 });
    const [sum, first] = [logP, bound].map((v) => Number(v.toFixed(2))); // shown parts add up
    said.textContent = `ELBO ${say(first)}  +  gap ${say(sum - first)}  =  ln p(x) ${say(sum)} nats`;
  }

  stage.append(codes.svg, nats.svg, said);
  show();
  return {
    set: (q) => {
      sigma = q.sigma;
      middle.put(q.mu, 0);
      show();
    },
    read: () => ({
      mu: middle.x, sigma, elbo: elbo(middle.x, sigma), gap: gap(middle.x, sigma), log_p: logP,
    }),
  };
});
