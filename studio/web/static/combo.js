// A box to type in with a list to choose from: one value, or several as chips. Keys as in the ARIA pattern for combo boxes.
//
// Markup: <span class="combo"><input role="combobox"></span> holds one value itself; with class "many" the values stand as lines
// in a hidden <textarea data-key> beside it. Whoever changes either fires `input`, and the other side follows.
(() => {
  const safe = studio.escape;
  let made = 0;

  // `of(box)` gives { choices: [{ label, value }], free } of the field that the box belongs to.
  studio.combo = (host, of) => {
    let open = null;  // { box, input, list, shown, typed, active }
    const store = (box) => box.classList.contains("many") ? box.parentElement.querySelector("textarea[data-key]") : null;
    const lines = (area) => area.value.split("\n").map((one) => one.trim()).filter(Boolean);
    const fire = (element) => element.dispatchEvent(new CustomEvent("input", { bubbles: true, detail: "chosen" }));

    const close = () => {
      if (!open) return;
      open.input.setAttribute("aria-expanded", "false");
      open.input.removeAttribute("aria-activedescendant");
      open.list.remove();
      open = null;
    };
    const mark = (at) => {
      open.active = at;
      [...open.list.children].forEach((item, index) => item.classList.toggle("active", index === at));
      const item = open.list.children[at];
      item ? open.input.setAttribute("aria-activedescendant", item.id) : open.input.removeAttribute("aria-activedescendant");
      item?.scrollIntoView({ block: "nearest" });
    };
    const show = (box, typed) => {
      const input = box.querySelector("input"), { choices, free } = of(box), area = store(box), chosen = area ? lines(area) : [input.value];
      const wanted = typed ? input.value.trim().toLowerCase() : "";
      const shown = choices.filter((one) => !wanted || `${one.label} ${one.value}`.toLowerCase().includes(wanted));
      const top = open?.box === box && !typed ? open.list.scrollTop : 0;
      close();
      if (!shown.length) return;
      const id = `combo-${++made}`, list = document.createElement("ul");
      list.id = id;
      list.className = "combo-list";
      list.setAttribute("role", "listbox");
      if (area) list.setAttribute("aria-multiselectable", "true");
      list.innerHTML = shown.map((one, at) => `<li role="option" id="${id}-${at}" aria-selected="${chosen.includes(one.value)}">${safe(one.label)}${one.label.includes(one.value) ? "" : ` <span class="muted">${safe(one.value)}</span>`}</li>`).join("");
      box.append(list);
      open = { box, input, list, shown, typed, active: -1 };
      input.setAttribute("aria-expanded", "true");
      input.setAttribute("aria-controls", id);
      list.scrollTop = top;
      if (typed && (area || !free)) mark(0);
    };
    const choose = (box, value) => {
      const input = box.querySelector("input"), area = store(box);
      if (!area) { close(); input.value = value; fire(input); return; }
      const now = lines(area), again = Boolean(open);
      area.value = (now.includes(value) ? now.filter((one) => one !== value) : [...now, value]).join("\n");
      input.value = "";
      fire(area);
      if (again) show(box, false);
    };
    // What was typed and not chosen becomes a chip where any text is allowed, or where it is one of the choices.
    const settle = (box) => {
      const input = box.querySelector("input"), text = input.value.trim(), { choices, free } = of(box);
      if (!store(box) || !text) return;
      input.value = "";
      if ((free || choices.some((one) => one.value === text)) && !lines(store(box)).includes(text)) choose(box, text);
    };

    const boxOf = (event) => event.target.closest?.(".combo");
    host.addEventListener("mousedown", (event) => { if (event.target.closest(".combo-list, .combo-open")) event.preventDefault(); });
    host.addEventListener("click", (event) => {
      const box = boxOf(event), item = event.target.closest("[role=option]"), drop = event.target.closest("[data-drop]");
      if (!box) return;
      if (item && open) choose(box, open.shown[[...open.list.children].indexOf(item)].value);
      else if (drop) { choose(box, drop.dataset.drop); box.querySelector("input").focus(); }
      else if (open?.box === box && event.target.closest(".combo-open")) close();
      else { box.querySelector("input").focus(); if (open?.box !== box) show(box, false); }
    });
    host.addEventListener("input", (event) => {
      const box = boxOf(event);
      if (box && event.target.matches("[role=combobox]") && event.detail !== "chosen") show(box, true);
      if (event.target.matches("textarea[hidden][data-key]")) studio.combo.chips(event.target);
    });
    host.addEventListener("keydown", (event) => {
      const box = boxOf(event);
      if (!box || !event.target.matches("[role=combobox]") || event.isComposing) return;
      const count = open?.shown.length ?? 0, input = event.target, area = store(box);
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        event.preventDefault();
        if (!open) { show(box, false); if (open) mark(event.key === "ArrowDown" ? 0 : open.shown.length - 1); return; }
        mark((open.active + (event.key === "ArrowDown" ? 1 : open.active < 0 ? 0 : -1) + count) % count);
      } else if (event.key === "Enter") {
        event.preventDefault();
        if (open && open.active >= 0) choose(box, open.shown[open.active].value);
        else { close(); settle(box); }
      } else if (event.key === "Escape" && open) {
        event.stopPropagation();
        close();
      } else if (event.key === "Backspace" && area && !input.value && lines(area).length) {
        choose(box, lines(area).at(-1));
      }
    });
    host.addEventListener("focusout", (event) => {
      const box = boxOf(event);
      if (!box || box.contains(event.relatedTarget)) return;
      if (open?.box === box) close();
      settle(box);
    });
    return { again: () => { if (open) show(open.box, open.typed); } };  // the choices are others now
  };

  // The lines of a hidden text area as chips in the box beside it.
  studio.combo.chips = (area) => {
    const place = area.parentElement.querySelector(".chips");
    const found = area.value.split("\n").map((one) => one.trim()).filter(Boolean);
    if (place.dataset.shown === area.value) return;  // a chip under the pointer stays the same one
    place.dataset.shown = area.value;
    place.innerHTML = found.map((one) => `<span class="chip">${safe(one)}<button type="button" data-drop="${safe(one)}" aria-label="${safe(studio.say("page.form.take_out", { name: one }))}">×</button></span>`).join("");
  };
})();
