// Adding a dataset: drop a file or name a path, see what it is, correct the columns, give it a name.
(() => {
  const say = studio.say, safe = studio.escape;

  // Put one file on the server as it is, without reading it into memory; `heard` gets the share that has gone.
  const send = (address, file, heard) => {
    const request = new XMLHttpRequest();
    const done = new Promise((resolve) => {
      request.upload.addEventListener("progress", (event) => heard(event.loaded, event.total || file.size));
      request.addEventListener("load", () => {
        try { resolve(JSON.parse(request.responseText)); } catch { resolve({ error: request.responseText || say("page.data.add.broken_off") }); }
      });
      request.addEventListener("error", () => resolve({ error: say("page.data.add.broken_off") }));
      request.addEventListener("abort", () => resolve({ aborted: true }));
      request.open("PUT", address);
      request.send(file);
    });
    return { done, stop: () => request.abort() };
  };

  studio.dataAdd = {
    draw: (element, context) => {
      element.innerHTML = `<h2>${safe(say("page.data.add.title"))}</h2>
        <div class="drop" tabindex="-1"><p><b>${safe(say("page.data.add.drop"))}</b> <label class="button">${safe(say("page.data.add.choose"))}<input type="file" accept=".json,.jsonl,.ndjson,.csv,.tsv,.parquet,.arrow,.txt,.gz"></label></p>
          <p class="muted">${safe(say("page.data.add.kinds"))}</p></div>
        <form class="by-path"><label class="stacked">${safe(say("page.data.add.by_path"))}<span class="tools-row"><input name="path" list="data-unlisted" autocomplete="off" spellcheck="false" placeholder="data/file.jsonl"><button class="button">${safe(say("page.data.add.look"))}</button></span></label><datalist id="data-unlisted"></datalist><div class="offered"></div></form>
        <div class="sending" hidden><div class="working"><span class="what"></span><div class="progress"><div></div></div><button class="button small">${safe(say("page.data.cancel"))}</button></div></div>
        <p class="trouble note-box bad" role="alert" hidden></p><div class="looked-at" hidden><div class="head-of"><h3></h3><span class="muted"></span></div><div class="map"></div>
        <form class="finish"><label class="stacked">${safe(say("page.data.add.name"))}<input name="name" autocomplete="off" spellcheck="false" required></label><button class="button strong">${safe(say("page.data.add.save"))}</button><span class="verdict bad"></span></form></div>`;
      const find = (selector) => element.querySelector(selector);
      const drop = find(".drop"), picker = find("input[type=file]"), byPath = find(".by-path"), finish = find(".finish");
      let path = null, mapping = null, sending = null;

      const trouble = (text) => { find(".trouble").hidden = !text; find(".trouble").textContent = text || ""; };
      const upload = async (file) => {
        if (!file || sending) return;
        trouble("");
        find(".looked-at").hidden = true;
        const ticket = await context.ask("add.upload", { file: file.name, size: file.size });
        if (ticket.error) { trouble(ticket.error); return; }
        const bar = find(".sending .progress div"), what = find(".sending .what");
        find(".sending").hidden = false;
        sending = send(ticket.put, file, (gone, all) => {
          bar.style.width = `${((gone / all) * 100).toFixed(1)}%`;
          what.textContent = say("page.data.add.sending", { file: file.name, gone: studio.bytes(gone), all: studio.bytes(all) });
        });
        const reply = await sending.done;
        sending = null;
        find(".sending").hidden = true;
        bar.style.width = "0";
        if (reply.aborted) return;
        if (reply.error) { trouble(reply.error); return; }
        await look(reply.path);
      };
      const look = async (wanted) => {
        trouble("");
        const found = await context.ask("add.look", { path: wanted });
        if (!element.isConnected) return;
        if (found.error) { find(".looked-at").hidden = true; trouble(found.error); return; }
        path = found.path;
        byPath.path.value = path;
        find(".looked-at").hidden = false;
        find(".head-of h3").textContent = path;
        find(".head-of span").textContent = [studio.bytes(found.size), found.listed.length ? say("page.data.add.listed", { names: found.listed.join(", ") }) : ""].filter(Boolean).join(" · ");
        finish.name.value = found.name;
        mapping = studio.dataMapping(find(".map"), found, (clicks) => context.ask("add.preview", { path, ...clicks }), (reply) => {
          finish.querySelector("button").disabled = Boolean(reply.error) || reply.faulty === reply.looked_at;
        });
        find(".looked-at").scrollIntoView({ block: "nearest" });
      };

      picker.addEventListener("change", () => upload(picker.files[0]));
      find(".sending button").addEventListener("click", () => sending?.stop());
      for (const name of ["dragenter", "dragover"]) element.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
      element.addEventListener("dragleave", (event) => { if (!element.contains(event.relatedTarget)) drop.classList.remove("over"); });
      element.addEventListener("drop", (event) => {
        event.preventDefault();
        drop.classList.remove("over");
        if (event.dataTransfer.files.length > 1) studio.toast(say("page.data.add.one_by_one"));
        upload(event.dataTransfer.files[0]);
      });
      byPath.addEventListener("submit", (event) => { event.preventDefault(); if (byPath.path.value.trim()) look(byPath.path.value); });
      find(".offered").addEventListener("click", (event) => { if (event.target.dataset.path) look(event.target.dataset.path); });
      finish.addEventListener("submit", async (event) => {
        event.preventDefault();
        const reply = await context.ask("add.save", { path, name: finish.name.value.trim(), ...mapping.clicks() });
        finish.querySelector(".verdict").textContent = reply.error || "";
        if (reply.error) return;
        studio.toast(reply.message);
        await context.refresh();
        context.choose(reply.name);
      });
      context.ask("add.files").then(({ files = [] }) => {
        if (!element.isConnected) return;
        find("datalist").innerHTML = files.map((file) => `<option value="${safe(file.path)}">${studio.bytes(file.size)}</option>`).join("");
        find(".offered").innerHTML = files.length ? `<span class="muted">${safe(say("page.data.add.unlisted"))}</span> ${files.slice(0, 8).map((file) => `<button type="button" class="button small" data-path="${safe(file.path)}">${safe(file.path)}</button>`).join(" ")}` : "";
      });
      return () => sending?.stop();
    },
  };
})();
