/* Chapter 08: the generator g(c, h) as seven sliders, and its tangent vectors as pictures. */

"use strict";

course.explorable("strokes", (stage, { names, ranges, paths, lengths, half_height, ink, widths }) => {
  const { element, slider, choice, picture, say } = course;
  const SIZE = 28;
  const S = lengths.shape[1]; // places that the pen visits

  /** (8.5): 784 grey values of digit c with factors h. */
  function draw(c, [slant, rotation, scale, thickness, shiftX, shiftY, bend]) {
    const height = half_height * scale;
    const tau = thickness / widths;
    const [cos, sin] = [Math.cos(rotation), Math.sin(rotation)];
    const total = new Float64Array(SIZE * SIZE);
    const [column, row] = [new Float64Array(SIZE), new Float64Array(SIZE)];
    for (let s = 0; s < S; s++) {
      const [x, y] = [paths[2 * (c * S + s)], paths[2 * (c * S + s) + 1]];
      const moved = x + bend * (y * y - 0.4) - slant * y;
      const px = shiftX + height * (cos * moved + sin * y);
      const py = shiftY + height * (cos * y - sin * moved);
      const amount = (ink * height * lengths[c * S + s]) / (Math.sqrt(2 * Math.PI) * tau);
      for (let p = 0; p < SIZE; p++) {
        const at = p - (SIZE - 1) / 2;
        column[p] = Math.exp(-0.5 * ((at - px) / tau) ** 2);
        row[p] = amount * Math.exp(-0.5 * ((at - py) / tau) ** 2);
      }
      for (let q = 0; q < SIZE; q++)
        for (let p = 0; p < SIZE; p++) total[q * SIZE + p] += row[q] * column[p];
    }
    return total.map((v) => -Math.expm1(-v));
  }

  /** ∂g/∂h_j, by central differences. */
  function tangent(c, h, j) {
    const step = 1e-4;
    const [up, down] = [1, -1].map((sign) => draw(c, h.map((v, i) => (i === j ? v + sign * step : v))));
    return up.map((v, p) => (v - down[p]) / (2 * step));
  }

  const digit = choice({ label: "digit", names: [..."0123456789"], value: 5, moved: show });
  const image = picture(SIZE, SIZE, "the digit");
  const knobs = names.map((name, j) => {
    const [low, high] = [ranges[2 * j], ranges[2 * j + 1]].map((v) => Number(v.toFixed(6)));
    return slider({
      label: name.replace("_", " "), min: low, max: high, step: (high - low) / 60,
      value: (low + high) / 2, say: (v) => say(v), moved: show,
    });
  });
  const arrows = names.map((name) => picture(SIZE, SIZE, name.replace("_", " ")));
  const factors = () => knobs.map((knob) => knob.value);
  const said = element("p", { class: "explore-says", role: "status" });

  function show() {
    const [c, h] = [digit.value, factors()];
    image.draw(draw(c, h), `the digit ${c}`);
    const sizes = names.map((name, j) => {
      const span = ranges[2 * j + 1] - ranges[2 * j];
      const vector = tangent(c, h, j).map((v) => v * span);
      arrows[j].draw(
        vector.map((v) => 0.5 + v / 4), // grey: no change; white: more ink
        `change of the image with ${name.replace("_", " ")}`,
      );
      return Math.sqrt(vector.reduce((a, v) => a + v * v, 0));
    });
    const most = sizes.indexOf(Math.max(...sizes));
    said.textContent =
      `counted in whole ranges, ${names[most].replace("_", " ")} moves the image fastest here: ` +
      `${say(sizes[most], 1)} for one range (length of the tangent vector in the 784 pixels)`;
  }

  const board = element("div", { class: "explore-board" }, ...knobs.map((knob) => knob.row));
  const row = element("div", { class: "explore-row" }, ...arrows.map((arrow) => arrow.box));
  stage.append(image.box, digit.row, board, row, said);
  show();
  return {
    set: (v) => {
      digit.value = v.digit;
      v.factors.forEach((value, j) => {
        knobs[j].value = value;
      });
      show();
    },
    read: () => ({
      image: Array.from(draw(digit.value, factors())),
      tangents: names.map((_, j) => Array.from(tangent(digit.value, factors(), j))),
      factors: factors(),
    }),
  };
});
