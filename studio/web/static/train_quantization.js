// A link to the page that shows how weights are rounded, wherever weights are quantized.
studio.trainPanels.quantization = {
  order: 90,
  shown: (state) => state.types.quantization !== "none",
  draw(element, context) {
    const text = context.safe(context.say("page.guide.quantization.link"));
    const address = `guide/quantization?language=${encodeURIComponent(context.language)}`;
    element.innerHTML = `<a href="${address}" target="_blank" rel="noopener">${text}</a>`;
    return { changed() {} };
  },
};
