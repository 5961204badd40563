// Runs before and after MathJax's components, in an engine without a page: see mathematics.py.
"use strict"
globalThis.MathJax ??= {
  loader: { load: [] },
  options: { enableAssistiveMml: true },
  startup: { input: ["tex"], output: "svg", adaptor: "liteAdaptor", handler: "HTMLHandler", ready() {} },
  svg: { fontCache: "global" },
  tex: {
    packages: { "[-]": ["noerrors", "noundefined"] }, // which would draw a mistake in red, and go on
    formatError(jax, error) { throw error },
  },
}

// What a page needs of a formula, or the mistake in it. Attributes that only scripts read, or that
// HTML implies, are a third of the weight.
function typeset(tex, display) {
  const { adaptor, document } = MathJax.startup
  try {
    const container = document.convert(tex, { display, em: 16, ex: 8, containerWidth: 1280 })
    const html = adaptor.innerHTML(container)
      .replace(/ (?:xmlns(?::xlink)?|data-(?:mml-node|mjx-texclass|c)|role|focusable)="[^"]*"/g, "")
      .replace(/ xlink:href=/g, " href=")
    return JSON.stringify({ html, style: adaptor.getAttribute(container, "style") || "" })
  } catch (error) {
    return JSON.stringify({ error: error.message })
  }
}

// The drawings of all characters so far, by their ids.
function glyphs() {
  const { adaptor, output } = MathJax.startup
  const drawings = adaptor.childNodes(output.fontCache.getCache())
  return JSON.stringify(
    Object.fromEntries(drawings.map(g => [adaptor.getAttribute(g, "id"), adaptor.outerHTML(g)]))
  )
}
