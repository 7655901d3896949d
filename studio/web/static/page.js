// The page as a whole: language, light or dark, the open tab in the address. Runs before Gradio's own script.
window.studio = window.studio || {};
(() => {
  const query = new URLSearchParams(location.search);
  const asked = query.get("lang") || localStorage.getItem("studio-language") || navigator.language.slice(0, 2);
  studio.language = studio.words[asked] ? asked : "en";
  // Gradio translates labels into the browser's language and offers no other choice: so this page's browser has the asked one.
  Object.defineProperty(navigator, "language", { get: () => studio.codes[studio.language], configurable: true });
  document.documentElement.lang = studio.language;

  studio.say = (key, values) => {
    const text = studio.words[studio.language][key] ?? key;
    return values ? text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "") : text;
  };

  studio.escape = (text) => String(text ?? "").replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);

  const dark = localStorage.getItem("studio-theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  studio.paint = (theme) => {
    document.body?.classList.toggle("dark", theme === "dark");
    document.documentElement.dataset.theme = theme;
    document.documentElement.style.colorScheme = theme;
  };
  studio.theme = query.get("__theme") || dark;
  studio.paint(studio.theme);
  document.addEventListener("DOMContentLoaded", () => studio.paint(studio.theme));

  // Put a part of the state into the address; `push` makes a step that the Back button returns from.
  studio.address = (changes, push) => {
    const next = new URLSearchParams(location.search);
    for (const [name, value] of Object.entries(changes)) value ? next.set(name, value) : next.delete(name);
    const url = `${location.pathname}?${next}`;
    if (url === location.pathname + location.search) return;
    push ? history.pushState(null, "", url) : history.replaceState(null, "", url);
  };

  studio.parameter = (name) => new URLSearchParams(location.search).get(name);

  studio.download = (name, text, type = "application/yaml") => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };

  // What the training form shall be filled with when it is next looked at: { run } or { dataset }, by name.
  studio.fillForm = (wanted) => {
    studio.toFill = wanted;
    document.dispatchEvent(new CustomEvent("studio-fill"));
  };

  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.(".copy");
    if (!button) return;
    await navigator.clipboard.writeText(button.parentElement.querySelector("pre").textContent);
    const text = button.textContent;
    button.textContent = "✓";
    setTimeout(() => { button.textContent = text; }, 1200);
  });

  // A browser does not report the same file twice: forget it first, so that a corrected file can be loaded again.
  document.addEventListener("click", (event) => {
    if (event.target.matches?.("input[type=file]")) event.target.value = "";
  }, true);

  // Tabs: Gradio draws them, the address remembers which one is open.
  // On a narrow page those that find no room stand in a menu, where Gradio gives them no id: there the text tells.
  const NAMES = ["train", "runs", "data", "evaluate", "chat", "export"];
  const nameOf = (button) => button?.dataset.tabId ?? NAMES.find((name) => studio.say(`page.tabs.${name}`) === button?.textContent.trim());
  const tabButton = (name) => document.querySelector(`#tabs button[data-tab-id="${name}"]`) ?? [...document.querySelectorAll("#tabs .overflow-dropdown button")].find((button) => nameOf(button) === name);
  // Gradio draws its tabs a moment after the header and listens to them a moment later: until it heard, try again.
  const press = (name, tries = 200) => {
    const button = tabButton(name);
    if (!tries || studio.tab() !== name || button?.getAttribute("aria-selected") === "true") return;
    button?.click();
    setTimeout(() => press(name, tries - 1), 50);
  };
  studio.tab = () => studio.parameter("tab") || "train";
  studio.openTab = (name, push = true) => {
    studio.address({ tab: name }, push);
    press(name);
    document.dispatchEvent(new CustomEvent("studio-tab", { detail: name }));
  };
  studio.openRun = (name) => {
    if (!name) return;
    studio.address({ tab: "runs", run: name }, true);
    studio.openTab("runs", false);
    document.dispatchEvent(new CustomEvent("studio-run", { detail: name }));
  };
  document.addEventListener("click", (event) => {
    const name = nameOf(event.target.closest?.("#tabs button[data-tab-id], #tabs .overflow-dropdown button"));
    if (!name || !event.isTrusted) return;
    studio.address({ tab: name }, true);
    document.dispatchEvent(new CustomEvent("studio-tab", { detail: name }));
  });
  addEventListener("popstate", () => {
    document.dispatchEvent(new CustomEvent("studio-back"));
    studio.openTab(studio.tab(), false);
    document.dispatchEvent(new CustomEvent("studio-run", { detail: studio.parameter("run") }));
  });

  studio.drawHeader = (element, server) => {
    const offline = element.querySelector(".offline");
    const draw = (facts) => {
      if (facts === undefined) throw new Error("the server does not answer");  // Gradio only logs a failed call
      element.querySelector(".facts").textContent = facts;
      offline.hidden = true;
    };
    const language = element.querySelector(".language");
    language.innerHTML = Object.keys(studio.words)
      .map((name) => `<option value="${name}">${studio.words[name]["page.language_name"]}</option>`).join("");
    language.value = studio.language;
    language.setAttribute("aria-label", studio.say("page.header.language"));
    language.addEventListener("change", () => {
      localStorage.setItem("studio-language", language.value);
      studio.address({ lang: language.value });
      location.reload();
    });
    const toggle = element.querySelector(".theme");
    toggle.title = studio.say("page.header.theme");
    toggle.setAttribute("aria-label", toggle.title);
    toggle.addEventListener("click", () => {
      studio.theme = studio.theme === "dark" ? "light" : "dark";
      localStorage.setItem("studio-theme", studio.theme);
      studio.paint(studio.theme);
    });
    offline.textContent = studio.say("page.header.offline");
    studio.repeat(3000, async () => draw(await studio.within(server.facts(studio.language))), () => { offline.hidden = false; });
    studio.openTab(studio.tab(), false);
  };

  // A question that may be asked anew: without an answer in time it counts as not answered, as Gradio gives it for a failed
  // call. Else one answer that never comes would keep a page that waits for it from ever asking again.
  studio.within = (answer, patience = 10000) => Promise.race([answer, new Promise((done) => setTimeout(done, patience))]);

  // Call `work` again and again while the page is visible; never twice at once. `failed` hears of a silent server.
  studio.repeat = (pause, work, failed) => {
    const once = async () => {
      if (!document.hidden) {
        try { await work(); } catch (error) { failed ? failed(error) : console.warn(error); }
      }
      setTimeout(once, pause);
    };
    once();
  };
})();
