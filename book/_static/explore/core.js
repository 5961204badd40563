/* What the explorables share: numbers from the notebooks, sliders, handles to drag, pictures.

   A page works from file://, where modules and fetch are refused, so that these are plain scripts:
   data/NAME.js calls course.data, NAME.js calls course.explorable, and the page holds
   <div data-explore="NAME">. An explorable returns { set, read }: set(values) moves its controls,
   read() gives the numbers that it shows. Tests compare those with the notebook's. */

"use strict";

const course = (() => {
  const stores = {};

  /** Numbers of the notebook NAME's run: { name: number, text or { shape, type, base64 } }. */
  function data(name, values) {
    stores[name] = values;
  }

  /** An array as a flat Float32Array with its shape, from what course_utils.explore wrote. */
  function array({ shape, type, base64, low, high }) {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    const read = {
      uint8: (i) => low + ((high - low) * bytes[i]) / 255,
      float16: (i) => half(view.getUint16(2 * i, true)),
      float32: (i) => view.getFloat32(4 * i, true),
    }[type];
    const size = shape.reduce((a, b) => a * b, 1);
    const values = Float32Array.from({ length: size }, (_, i) => read(i));
    return Object.assign(values, { shape });
  }

  /** The number that 16 bits stand for (IEEE 754 binary16). */
  function half(bits) {
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    const size = exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24;
    return bits & 0x8000 ? -size : size;
  }

  /** Build every explorable called NAME on the page, once its data are there. */
  function explorable(name, build) {
    if (!stores[name]) return; // its numbers did not come: the place says so
    document.querySelectorAll(`[data-explore="${name}"]`).forEach((place) => {
      const stage = element("div", { class: "explore-stage" });
      place.explorable = build(stage, unpacked(stores[name]));
      place.querySelector(".explore-still")?.remove();
      place.append(stage);
    });
  }

  /** Load the scripts of a place once it comes near the window: most readers never see most of them. */
  const folder = document.currentScript.src.replace(/core\.js.*/, "");
  const loaded = new Set();

  function fetchScripts(name) {
    if (loaded.has(name)) return;
    loaded.add(name);
    for (const path of [`data/${name}.js`, `${name}.js`]) {
      const script = element("script", { src: folder + path });
      script.async = false; // in this order
      script.addEventListener("error", () =>
        document.querySelectorAll(`[data-explore="${name}"] .explore-still`).forEach((still) => {
          still.textContent = "The drawing could not be loaded.";
        }),
      );
      document.head.append(script);
    }
  }

  function watch() {
    const near = new IntersectionObserver(
      (entries) =>
        entries.filter((e) => e.isIntersecting).forEach((e) => fetchScripts(e.target.dataset.explore)),
      { rootMargin: "300px" },
    );
    document.querySelectorAll("[data-explore]").forEach((place) => {
      const still = place.querySelector(".explore-still");
      if (still) still.textContent = "The drawing comes as you scroll.";
      near.observe(place);
    });
  }
  document.addEventListener("DOMContentLoaded", watch);

  const unpacked = (values) =>
    Object.fromEntries(
      Object.entries(values).map(([key, v]) => [key, v?.base64 === undefined ? v : array(v)]),
    );

  // ---- elements ---------------------------------------------------------------------------------

  const SVG = new Set(["svg", "g", "path", "line", "circle", "rect", "text", "polyline"]);

  /** An HTML or SVG element with these attributes and children. */
  function element(tag, attributes = {}, ...children) {
    const made = SVG.has(tag)
      ? document.createElementNS("http://www.w3.org/2000/svg", tag)
      : document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  /** Change attributes of an element. */
  function change(made, attributes) {
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  }

  /** A labelled slider. Returns { row, get value, set value }; moved() follows each change. */
  function slider({ label, min, max, step, value, say = (v) => String(v), moved }) {
    const input = element("input", { type: "range", min, max, step });
    const shown = element("output", { "aria-hidden": "true" }); // the slider says it
    const row = element("label", { class: "explore-slider" }, element("span", {}, label), input, shown);
    const show = () => {
      shown.textContent = say(Number(input.value));
      input.setAttribute("aria-valuetext", shown.textContent);
    };
    input.value = value;
    input.addEventListener("input", () => {
      show();
      moved();
    });
    show();
    return {
      row,
      get value() {
        return Number(input.value);
      },
      set value(v) {
        input.value = v;
        show();
      },
    };
  }

  /** A choice of one among names, as buttons. Returns { row, get value, set value }. */
  function choice({ label, names, value = 0, moved }) {
    const buttons = names.map((name) => element("button", { type: "button" }, name));
    const row = element("div", { class: "explore-choice", role: "group", "aria-label": label }, ...buttons);
    let chosen = value;
    const show = () => buttons.forEach((b, i) => b.setAttribute("aria-pressed", String(i === chosen)));
    buttons.forEach((button, i) =>
      button.addEventListener("click", () => {
        chosen = i;
        show();
        moved();
      }),
    );
    show();
    return {
      row,
      get value() {
        return chosen;
      },
      set value(i) {
        chosen = i;
        show();
      },
    };
  }

  /** A drawing with two axes, in the page's colours.

      x, y: [from, to] in the data's units; ticks: { x, y } numbers; labels: { x, y } text. Returns
      { svg, ink, at(x, y) -> [px, py], back(px, py) -> [x, y], range }; draw into the group ink. */
  function plot({ width = 600, height = 260, x, y, ticks = {}, labels = {}, title }) {
    const [left, right, top, bottom] = [ticks.y ? 62 : 12, 12, 12, ticks.x ? 50 : 12];
    const px = (v) => left + ((v - x[0]) / (x[1] - x[0])) * (width - left - right);
    const py = (v) => height - bottom - ((v - y[0]) / (y[1] - y[0])) * (height - top - bottom);
    const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, class: "explore-plot" });
    const ink = element("g");
    svg.append(element("line", { class: "axis", x1: px(x[0]), x2: px(x[1]), y1: py(y[0]), y2: py(y[0]) }));
    for (const v of ticks.x ?? [])
      svg.append(text(px(v), height - bottom + 19, v, "middle"));
    for (const v of ticks.y ?? []) svg.append(text(left - 6, py(v) + 4, v, "end"));
    if (labels.x) svg.append(text((left + width - right) / 2, height - 7, labels.x, "middle"));
    if (labels.y) {
      svg.append(text(0, 0, labels.y, "middle"));
      change(svg.lastChild, { transform: `translate(15 ${(top + height - bottom) / 2}) rotate(-90)` });
    }
    if (title) change(svg, { role: "group", "aria-label": title });
    svg.append(ink);
    return {
      svg,
      ink,
      at: (a, b) => [px(a), py(b)],
      back: (a, b) => [
        x[0] + ((a - left) / (width - left - right)) * (x[1] - x[0]),
        y[0] + ((height - bottom - b) / (height - top - bottom)) * (y[1] - y[0]),
      ],
      range: { x, y },
    };
  }

  function text(x, y, words, anchor = "start", kind = "") {
    return element("text", { x, y, "text-anchor": anchor, class: kind }, String(words).replace("-", "−"));
  }

  /** A path through points [[x, y], …] of a plot. */
  const path = (plotted, points) =>
    "M" + points.map(([a, b]) => plotted.at(a, b).map((v) => v.toFixed(1)).join(" ")).join("L");

  /** A point to drag, to touch or to move with the arrow keys.

      axes: "x", "y" or "xy"; step: of one key press (with Shift ten of them); say(x, y): what a
      screen reader says. Returns { get x, get y, put(x, y), lie(x, y) }; moved() follows each change by hand. */
  function handle(plotted, { label, x, y, axes = "xy", step = 0.1, color = 1, say, moved }) {
    const { range } = plotted;
    const dot = element("circle", {
      r: 9,
      class: `handle color-${color}`,
      tabindex: 0,
      role: "slider",
      "aria-label": label,
      "aria-valuemin": range[axes[0]][0],
      "aria-valuemax": range[axes[0]][1],
    });
    const place = { x, y };
    const clip = (v, [low, high]) => Math.min(Math.max(v, low), high);
    const put = (a, b) => {
      if (axes.includes("x")) place.x = clip(a, range.x);
      if (axes.includes("y")) place.y = clip(b, range.y);
      show();
    };
    const show = () => {
      const [cx, cy] = plotted.at(place.x, place.y);
      change(dot, {
        cx,
        cy,
        "aria-valuenow": place[axes[0]].toFixed(3),
        "aria-valuetext": say(place.x, place.y),
      });
    };
    const follow = (event) => {
      const box = plotted.svg.getBoundingClientRect();
      const scale = plotted.svg.viewBox.baseVal.width / box.width;
      put(...plotted.back((event.clientX - box.left) * scale, (event.clientY - box.top) * scale));
      moved();
    };
    dot.addEventListener("pointerdown", (event) => {
      dot.setPointerCapture(event.pointerId);
      dot.addEventListener("pointermove", follow);
      dot.focus();
      event.preventDefault();
    });
    const stop = () => dot.removeEventListener("pointermove", follow);
    dot.addEventListener("pointerup", stop);
    dot.addEventListener("pointercancel", stop);
    dot.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1] }[event.key];
      if (!by || event.altKey || event.ctrlKey || event.metaKey) return; // the browser's own keys
      const size = step * (event.shiftKey ? 10 : 1);
      // On one axis all four arrows move along it, as on any slider.
      const [dx, dy] = axes === "xy" ? by : axes === "x" ? [by[0] + by[1], 0] : [0, by[0] + by[1]];
      put(place.x + size * dx, place.y + size * dy);
      moved();
      event.preventDefault();
    });
    show();
    plotted.svg.append(dot);
    return {
      put,
      get x() {
        return place.x;
      },
      get y() {
        return place.y;
      },
      /** Move to where another thing that was moved puts it, without a limit to its axis. */
      lie(a, b) {
        Object.assign(place, { x: a, y: b });
        show();
      },
    };
  }

  // ---- pictures ---------------------------------------------------------------------------------

  /** A picture of height × width grey values in [0, 1]. Returns { box, words, draw(values, label) }. */
  function picture(height, width, caption = "") {
    const canvas = element("canvas", { width, height, role: "img" });
    const words = element("figcaption", {}, caption);
    const box = element("figure", { class: "explore-picture" }, canvas, ...(caption ? [words] : []));
    const context = canvas.getContext("2d");
    const pixels = context.createImageData(width, height);
    return {
      box,
      words,
      draw(values, label) {
        for (let i = 0; i < height * width; i++) {
          const grey = Math.round(255 * Math.min(Math.max(values[i], 0), 1));
          pixels.data.set([grey, grey, grey, 255], 4 * i);
        }
        context.putImageData(pixels, 0, 0);
        canvas.setAttribute("aria-label", label);
      },
    };
  }

  /** The density of a Gaussian at z. */
  const density = (z, mu, sigma) =>
    Math.exp(-0.5 * ((z - mu) / sigma) ** 2) / (sigma * Math.sqrt(2 * Math.PI));

  /** A number with so many decimals, and a minus sign that looks like one. */
  const say = (v, decimals = 2) => {
    const written = v.toFixed(decimals);
    return (Number(written) === 0 ? (0).toFixed(decimals) : written).replace("-", "−");
  };

  return { data, explorable, element, change, slider, choice, plot, text, path, handle, picture, density, say };
})();
