// How long the rows of a dataset are: bars, and the cutoff as a line that can be dragged or moved by keys.
(() => {
  const HEIGHT = 150, BOTTOM = 22, TOP = 16, SIDE = 8;
  const word = (key, values) => studio.say(`page.data.tokens.${key}`, values);

  // `changed` hears the new cutoff when it is let go, `moving` while it moves.
  studio.lengthChart = (host, changed, moving) => {
    host.innerHTML = `<svg class="lengths" height="${HEIGHT}" role="img"></svg>`;
    const svg = host.querySelector("svg");
    let report = null, cutoff = 0, dragged = false, timer = 0;
    const longest = () => Math.max(report.counts.length * report.width, 8);
    const reach = () => (cutoff <= longest() * 1.5 ? Math.max(longest(), cutoff * 1.02) : longest() * 1.04);
    const width = () => Math.max(host.clientWidth, 240);
    const x = (length) => SIDE + (Math.min(length, reach()) / reach()) * (width() - 2 * SIDE);
    const length = (at) => Math.max(4, Math.round(((at - SIDE) / (width() - 2 * SIDE)) * reach()));
    const nice = (most) => { const raw = most / 6, unit = 10 ** Math.floor(Math.log10(raw)); return Math.max(1, [1, 2, 5, 10].find((step) => step * unit >= raw) * unit); };

    const draw = () => {
      if (!report) return;
      const high = Math.max(...report.counts, 1), floor = HEIGHT - BOTTOM, room = floor - TOP, line = x(cutoff), step = nice(reach());
      svg.setAttribute("width", width());
      svg.setAttribute("viewBox", `0 0 ${width()} ${HEIGHT}`);
      svg.setAttribute("aria-label", word("histogram_label", { width: report.width }));
      const bars = report.counts.map((rows, bin) => {
        if (!rows) return "";
        const from = x(bin * report.width), to = x((bin + 1) * report.width), tall = Math.max(1.5, (rows / high) * room);
        const range = report.width === 1 ? bin : `${bin * report.width}–${(bin + 1) * report.width - 1}`;
        return `<rect class="bar ${bin * report.width >= cutoff ? "beyond" : ""}" x="${from.toFixed(1)}" y="${(floor - tall).toFixed(1)}" width="${Math.max(1, to - from - (to - from > 4 ? 1 : 0)).toFixed(1)}" height="${tall.toFixed(1)}"><title>${studio.escape(word("bar", { range, count: rows }))}</title></rect>`;
      });
      const ticks = [];
      for (let tick = 0; tick <= reach(); tick += step) ticks.push(`<text class="tick" x="${x(tick).toFixed(1)}" y="${HEIGHT - 6}" text-anchor="${tick ? "middle" : "start"}">${tick.toLocaleString(studio.language)}</text>`);
      const right = line > width() - 110, off = cutoff > reach();
      svg.innerHTML = `<line class="floor" x1="0" x2="${width()}" y1="${floor}" y2="${floor}"/>${bars.join("")}${ticks.join("")}
        <g class="cutoff" role="slider" tabindex="0" aria-label="${studio.escape(word("cutoff"))}" aria-valuemin="4" aria-valuemax="${Math.round(reach())}" aria-valuenow="${cutoff}">
        <rect class="grip" x="${(line - 9).toFixed(1)}" y="0" width="18" height="${floor}"/><line x1="${line.toFixed(1)}" x2="${line.toFixed(1)}" y1="0" y2="${floor}"/>
        <text x="${(line + (right ? -6 : 6)).toFixed(1)}" y="11" text-anchor="${right ? "end" : "start"}">${studio.escape(word("cutoff"))} ${cutoff.toLocaleString(studio.language)}${off ? " →" : ""}</text></g>`;
    };
    const move = (value) => { cutoff = value; draw(); moving(value); };
    svg.addEventListener("pointerdown", (event) => {
      if (!event.target.closest(".cutoff")) return;
      dragged = true;
      svg.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    svg.addEventListener("pointermove", (event) => { if (dragged) move(length(event.clientX - svg.getBoundingClientRect().left)); });
    const drop = () => { if (dragged) { dragged = false; changed(cutoff); } };
    svg.addEventListener("pointerup", drop);
    svg.addEventListener("pointercancel", drop);
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, PageDown: -64, PageUp: 64 }[event.key] * (event.shiftKey ? 16 : 1);
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      move(Math.max(4, cutoff + step));
      svg.querySelector(".cutoff").focus();
      clearTimeout(timer);
      timer = setTimeout(() => { timer = 0; changed(cutoff); }, 600);
    });
    const watch = new ResizeObserver(draw);
    watch.observe(host);
    return {
      set: (news, at) => { report = news; if (!dragged && !timer) cutoff = at; const focused = svg.contains(document.activeElement); draw(); if (focused) svg.querySelector(".cutoff").focus(); },
      close: () => { watch.disconnect(); clearTimeout(timer); },
    };
  };
})();
