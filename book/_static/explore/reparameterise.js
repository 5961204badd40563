/* Chapter 10: mu and sigma as handles, the same eps kept: z = mu + sigma eps moves with them. */

"use strict";

course.explorable("reparameterise", (stage, { eps }) => {
  const { element, plot, slider, density, path, say, text, change } = course;
  const noise = Array.from(eps);
  const codes = plot({
    height: 250, x: [-7, 9], y: [-0.32, 1], ticks: { x: [-6, -4, -2, 0, 2, 4, 6, 8] },
    labels: { x: "noise ε (above) and draw z = mu + σ ε (below)" }, title: "noise and draws",
  });
  const grid = Array.from({ length: 321 }, (_, i) => -7 + 0.05 * i);
  const bell = (mu, sigma, base, scale) =>
    path(codes, grid.map((z) => [z, base + scale * density(z, mu, sigma)]));
  const [upper, lower] = [0.62, -0.1];
  const curve = element("path", { class: "line color-0" });
  const strings = noise.map(() => element("line", { class: "string" }));
  const dots = noise.map(() => element("circle", { r: 4, class: "dot color-0" }));
  codes.ink.append(
    element("path", { class: "line color-3", d: bell(0, 1, upper, 0.32) }),
    ...strings,
    curve,
    ...noise.map((e) => {
      const [cx, cy] = codes.at(e, upper);
      return element("circle", { cx, cy, r: 4, class: "dot color-3" });
    }),
    ...dots,
    text(...codes.at(-6.9, 0.9), "ε from N(0, 1), drawn once", "start", "muted"),
  );
  const said = element("p", { class: "explore-says", role: "status" });
  const mu = slider({ label: "mu", min: -3, max: 3, step: 0.1, value: 1, say, moved: show });
  const sigma = slider({ label: "σ", min: 0, max: 2, step: 0.05, value: 0.5, say, moved: show });
  const draws = () => noise.map((e) => mu.value + sigma.value * e);

  function show() {
    const z = draws();
    z.forEach((at, i) => {
      const [cx, cy] = codes.at(at, lower);
      change(dots[i], { cx, cy });
      const [x1, y1] = codes.at(noise[i], upper);
      change(strings[i], { x1, y1, x2: cx, y2: cy });
    });
    curve.setAttribute("d", sigma.value > 0.02 ? bell(mu.value, sigma.value, lower, 0.32) : "");
    const mean = z.reduce((a, v) => a + v, 0) / z.length;
    said.textContent = `the draws' mean ${say(mean)};  ∂z/∂mu = 1 for each;  ∂z/∂σ = ε, here from ${say(Math.min(...noise))} to ${say(Math.max(...noise))}`;
  }

  stage.append(codes.svg, mu.row, sigma.row, said);
  show();
  return {
    set: (v) => {
      mu.value = v.mu;
      sigma.value = v.sigma;
      show();
    },
    read: () => ({ mu: mu.value, sigma: sigma.value, z: draws() }),
  };
});
