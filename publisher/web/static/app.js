// The dashboard's own script. Every page and action works without it.
(() => {
  "use strict";
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // The secret of a one-time link stands behind #, where no server and no proxy sees it: it is sent in a form's body.
  const linkForm = document.getElementById("link-form");
  const sendLink = () => {
    if (location.hash.length < 2) return;
    linkForm.elements.link.value = location.hash.slice(1);
    history.replaceState(null, "", location.pathname);
    linkForm.submit();
  };
  if (linkForm) {
    addEventListener("hashchange", sendLink);
    sendLink();
  }

  // The time in the zone of the workspace, wherever the browser is.
  const loadedAt = Date.now();
  const startSeconds = (document.body.dataset.clock || "").split(":").reduce((sum, part) => 60 * sum + Number(part), 0);
  const readClock = () => {
    const minutes = Math.floor((startSeconds + (Date.now() - loadedAt) / 1000) / 60) % 1440;
    return [Math.floor(minutes / 60), minutes % 60].map((part) => String(part).padStart(2, "0")).join(":");
  };

  // Dialogs: a link with data-dialog opens one instead of leading to its page.
  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-dialog]");
    const dialog = opener && document.getElementById(opener.dataset.dialog);
    if (dialog && dialog.showModal && !event.metaKey && !event.ctrlKey) {
      event.preventDefault();
      dialog.showModal();
      (dialog.querySelector("[autofocus]") || dialog.querySelector("button")).focus();
    }
    if (event.target.closest("[data-close]")) event.target.closest("dialog").close();
    const copier = event.target.closest("[data-copy]");
    if (copier && navigator.clipboard) {
      event.preventDefault();
      const source = document.getElementById(copier.dataset.copy);
      navigator.clipboard.writeText(source.value || source.textContent.trim()).then(() => {
        copier.textContent = copier.dataset.copied || copier.textContent;
      });
    }
    if (!event.target.closest("details.who, details.more")) {
      all("details.who[open], details.more[open]").forEach((each) => { each.open = false; });
    }
  });

  // Without the network nothing is sent and no page is left: what was typed stays. The browser's word alone is not
  // enough, since a machine without any network still reaches a dashboard of its own.
  const offline = document.getElementById("offline"), backOnline = document.getElementById("back-online");
  const PROBE_MILLISECONDS = 2000;
  let probing = 0;
  const isReachable = () => Promise.race([
    fetch("/healthz", { cache: "no-store" }).then(() => true, () => false),
    new Promise((resolve) => { setTimeout(resolve, PROBE_MILLISECONDS, false); }),
  ]);
  const probe = async () => {
    clearTimeout(probing);
    const isCut = !await isReachable();
    if (isCut) probing = setTimeout(probe, PROBE_MILLISECONDS);
    if (isCut !== offline.hidden) return;
    offline.hidden = !isCut;
    document.body.classList.toggle("cut-off", isCut);
    backOnline.hidden = isCut;
    if (!isCut) setTimeout(() => { backOnline.hidden = true; }, 10000);
    all('form[method="post"] button:not([type="button"])').forEach((button) => {
      if (isCut) button.setAttribute("aria-disabled", "true");
      else button.removeAttribute("aria-disabled");
    });
  };
  const hold = (event) => {
    if (offline.hidden) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  };
  addEventListener("offline", probe);
  addEventListener("online", probe);
  addEventListener("submit", hold, true);
  addEventListener("click", (event) => {
    const link = event.target.closest && event.target.closest("a[href]");
    if (link && !link.dataset.dialog && link.target !== "_blank" && link.getAttribute("href")[0] !== "#") hold(event);
  }, true);
  if (!navigator.onLine) probe();

  // A button that works shows so and stays where it is; a second click does nothing.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post" || event.defaultPrevented) return;
    if (form.dataset.sent) { event.preventDefault(); return; }
    form.dataset.sent = "1";
    const button = event.submitter;
    if (button && button.dataset.working) button.textContent = button.dataset.working;
    setTimeout(() => { delete form.dataset.sent; }, 4000);
  });
  window.addEventListener("pageshow", () => all("form[data-sent]").forEach((form) => { delete form.dataset.sent; }));

  // A second tap, meant for the page before, decides nothing here: nobody has read this text within the first second.
  const UNREAD_MILLISECONDS = 1500;
  const early = all("button[data-read-first]");
  early.forEach((button) => { button.disabled = true; });
  setTimeout(() => early.forEach((button) => { button.disabled = false; }), UNREAD_MILLISECONDS);

  // What was done is said for ten seconds, and longer while it is pointed at or has the focus.
  const notice = document.querySelector(".notice");
  const endNotice = () => {
    if (notice.matches(":hover, :focus-within")) setTimeout(endNotice, 2000);
    else notice.remove();
  };
  if (notice) setTimeout(endNotice, 10000);

  // The beat: seconds since the daemon's last sign of life, counted here between two frames of the stream.
  const beat = document.getElementById("beat");
  let beatAt = beat && beat.dataset.seconds !== "" ? Date.now() - 1000 * Number(beat.dataset.seconds) : null;
  const cutOff = document.getElementById("cut-off");
  const showBeat = () => {
    if (!beat || beatAt === null) return;
    const seconds = Math.max(0, Math.round((Date.now() - beatAt) / 1000));
    const { fine, stopped, unknown } = beat.dataset;
    const words = cutOff && !cutOff.hidden ? unknown : seconds > 60 ? stopped : fine;
    beat.querySelector(".words").textContent = words + " · ";
    beat.querySelector(".ago").textContent = beat.dataset.text.replace("{seconds}", seconds);
    beat.classList.toggle("late", seconds > 15 && seconds <= 60);
    beat.classList.toggle("stopped", seconds > 60);
  };
  if (beat) setInterval(showBeat, 1000);
  document.addEventListener("beat", (event) => {
    beatAt = event.detail.data === "" ? null : Date.now() - 1000 * Number(event.detail.data);
    showBeat();
  });

  // The stream: a banner says since when the page shows an old state, or that the session is over. Only a beat is a
  // sign that the stream is back: some proxies answer with a page of their own. One comes every five seconds: a stream
  // without any stands still, which no error tells, and is opened again.
  const FIRST_BEAT_PATIENCE = 15000, BEAT_PATIENCE = 30000;
  const signedOut = document.getElementById("signed-out");
  const displaced = document.getElementById("displaced");
  let isRefused = false, patience = 0, stream = null;
  const showCutOff = (isCut) => {
    if (!cutOff || cutOff.hidden === !isCut) return;
    const since = cutOff.querySelector("[data-since]");
    if (isCut) since.textContent = since.dataset.since.replace("{time}", readClock());
    cutOff.hidden = !isCut;
    showBeat();
  };
  const showLost = (status) => {
    if (!signedOut) return;
    isRefused = isRefused || status === 401;
    if (isRefused) signedOut.hidden = false;
    showCutOff(signedOut.hidden);
  };
  const waitForBeat = (milliseconds) => {
    clearTimeout(patience);
    if (document.hidden || !displaced?.hidden) return;
    patience = setTimeout(() => {
      showLost();
      stream?.reader?.cancel();
      waitForBeat(BEAT_PATIENCE);
    }, milliseconds);
  };
  document.addEventListener("htmx:sse:after:connection", (event) => { stream = event.detail.connection; });
  document.addEventListener("htmx:sse:error", (event) => showLost(event.detail.status));
  document.addEventListener("htmx:response:error", ({ detail: { ctx } }) => {
    ctx.swap = "none";
    showLost(ctx.response.status);
  });
  document.addEventListener("beat", () => {
    if (isRefused) signedOut.hidden = true;
    isRefused = false;
    showCutOff(false);
    waitForBeat(BEAT_PATIENCE);
  });
  // An empty list does not stand below a number of new things: nothing is there that could move under a finger.
  document.addEventListener("beat", () => {
    if (document.querySelector("[data-load-news]") && !document.getElementById("news").hidden) location.reload();
  });
  // A newer page of the same person has taken the place of this one: nothing comes any more.
  document.addEventListener("displaced", () => {
    showCutOff(false);
    clearTimeout(patience);
    displaced.hidden = false;
  });
  document.addEventListener("visibilitychange", () => waitForBeat(FIRST_BEAT_PATIENCE));
  waitForBeat(FIRST_BEAT_PATIENCE);

  // Tabs: one panel is shown, chosen by a click or the arrow keys. Without script all panels are.
  let chosenTab = "";
  const showPanels = (root) => all("[role=tablist]", root).forEach((list) => {
    const tabs = all("[role=tab]", list);
    const chosen = tabs.find((tab) => tab.id === chosenTab) || tabs[0];
    list.hidden = false;
    tabs.forEach((tab) => {
      tab.setAttribute("aria-selected", tab === chosen);
      tab.tabIndex = tab === chosen ? 0 : -1;
      root.querySelector(`#${tab.getAttribute("aria-controls")}`).hidden = tab !== chosen;
    });
  });
  const choose = (tab) => {
    chosenTab = tab.id;
    showPanels(document);
    tab.focus();
  };
  document.addEventListener("click", (event) => {
    const tab = event.target.closest("[role=tab]");
    if (tab) choose(tab);
  });
  document.addEventListener("keydown", (event) => {
    const tab = event.target.closest("[role=tab]");
    if (!tab || event.metaKey || event.ctrlKey || event.altKey) return;
    const tabs = all("[role=tab]", tab.parentNode), last = tabs.length - 1, at = tabs.indexOf(tab);
    const next = { ArrowRight: at < last ? at + 1 : 0, ArrowLeft: at ? at - 1 : last, Home: 0, End: last }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    choose(tabs[next]);
  });
  showPanels(document);

  // The form of a post: checked and kept while it is written. What the answer has replaces what has its id.
  const live = document.querySelector("form[data-live]");
  if (live) {
    let timer = 0, isBusy = false, isDirty = false, isUnkept = false;
    const picture = live.querySelector("[type=file]"), upload = document.getElementById("upload-status");
    const later = (milliseconds) => { clearTimeout(timer); timer = setTimeout(check, milliseconds); };
    const check = async () => {
      if (isBusy) return later(200);
      isBusy = true;
      isDirty = false;
      const file = picture?.files[0], body = file ? new FormData() : new URLSearchParams();
      [...new FormData(live)].filter(([, value]) => typeof value === "string" || value.name)
        .forEach((each) => body.append(...each));
      if (file) upload.textContent = upload.dataset.working;
      try {
        const answer = await fetch(live.dataset.live, { method: "POST", body });
        const { status } = answer;
        signedOut.hidden = status !== 401;
        if (status === 401 || status === 503) later(5000);
        else if (status === 204) later(2000);  // another form of the same person was checked instead
        else if (status === 200) show(await answer.text(), file);
        else if (file) endUpload(file, upload.dataset.failed);
      } catch { later(5000); }
      isBusy = false;
      if (isDirty) later(400);
    };
    // Nothing moves between pressing and letting go: a click whose place has moved meanwhile is none.
    let isPressed = false, waiting = null;
    const letGo = () => setTimeout(() => {
      isPressed = false;
      if (waiting !== null) show(...waiting);
    });
    addEventListener("pointerdown", (event) => { isPressed = event.button === 0; }, true);
    ["pointerup", "pointercancel", "contextmenu"].forEach((name) => addEventListener(name, letGo, true));
    addEventListener("blur", letGo);  // of the window: captured, it would be that of each field
    // A picture stays chosen until it is in the form: a form sent before brings it along.
    const endUpload = (file, words) => {
      if (picture.files[0] === file) picture.value = "";
      upload.textContent = words;
    };
    const addRows = (rows) => [...rows.children].forEach((row) => {
      const old = document.getElementById(row.id);
      if (old) old.replaceWith(row);
      else document.getElementById(rows.id)?.append(row);
    });
    // Fields drawn for another template: what was typed meanwhile goes along.
    const keepTyped = (old, part) => all("[name]", part).forEach((each) => {
      const named = `[name="${each.name}"]`;
      const same = all(named, old)[all(named, part).indexOf(each)];
      if (same && each.type !== "hidden") each.value = same.value;
    });
    const show = (html, file) => {
      waiting = isPressed ? [html, file] : null;
      if (isPressed) return;
      const parts = document.createElement("template");
      parts.innerHTML = html;
      if (file) endUpload(file, "");
      [...parts.content.children].forEach((part) => {
        if (part.id === "pictures") { addRows(part); return; }
        const old = document.getElementById(part.id);
        showPanels(part);
        if (!old || old.isEqualNode(part)) return;
        all("details[open]", old).forEach((each) => {
          const same = all("summary", part).find((it) => it.textContent === each.firstElementChild.textContent);
          if (same) same.parentNode.open = true;
        });
        const focused = old.contains(document.activeElement) && document.activeElement.id;
        if (part.matches(".data-part")) keepTyped(old, part);
        old.replaceWith(part);
        if (focused) document.getElementById(focused)?.focus();
      });
      const draft = live.querySelector("[name=draft]");
      if (draft && location.pathname === "/write") history.replaceState(null, "", live.dataset.place + draft.value);
      keepAgain();
    };
    const keepAgain = () => {
      const isAgain = live.querySelector("[data-again]") !== null;
      isUnkept = isAgain || isDirty;
      if (isAgain) later(3000);
    };
    keepAgain();
    const typed = (event) => {
      isDirty = isUnkept = true;
      later(["file", "radio"].includes(event.target.type) ? 0 : 400);
    };
    live.addEventListener("input", typed);
    // The words of the last seconds are kept when the page is left, but not by a form that brings them along.
    document.addEventListener("submit", () => { isUnkept = false; });
    addEventListener("pagehide", () => {
      if (!isUnkept) return;
      const fields = [...new FormData(live)].filter(([, value]) => typeof value === "string");
      navigator.sendBeacon(live.dataset.live, new URLSearchParams([...fields, ["leaving", "1"]]));
    });
    all("[data-no-script]", live).forEach((each) => { each.hidden = true; });
    live.addEventListener("focusout", (event) => { if (isDirty) typed(event); });
    all(".tools", live).forEach((tools) => { tools.hidden = false; });
    // The cover: the sliders choose the part that is shown, and so does dragging the picture.
    const readCrop = (crop) => {
      const [x, y, zoom] = all("input", crop).map((each) => Number(each.value));
      const [width, height, ratio] = ["width", "height", "ratio"].map((key) => Number(crop.dataset[key]));
      const own = [Math.min(width, height * ratio) * 100 / zoom, Math.min(height, width / ratio) * 100 / zoom];
      return { own, room: [width - own[0], height - own[1]], at: [x, y] };
    };
    live.addEventListener("input", (event) => {
      const crop = event.target.closest(".crop");
      if (!crop) return;
      const { own, room, at } = readCrop(crop);
      crop.querySelector("svg").setAttribute("viewBox", [room[0] * at[0] / 100, room[1] * at[1] / 100, ...own].join(" "));
    });
    let grip = null;
    live.addEventListener("pointerdown", (event) => {
      const svg = event.target.closest(".crop svg");
      if (!svg || event.button !== 0) return;
      event.preventDefault();
      svg.setPointerCapture(event.pointerId);
      grip = { svg, from: [event.clientX, event.clientY], ...readCrop(svg.closest(".crop")) };
    });
    live.addEventListener("pointermove", (event) => {
      if (!grip) return;
      const { svg, from, own, room, at } = grip, scale = own[0] / svg.clientWidth;
      [event.clientX, event.clientY].forEach((now, axis) => {
        const slider = all("input", svg.closest(".crop"))[axis];
        if (room[axis] >= 1) slider.value = at[axis] - 100 * scale * (now - from[axis]) / room[axis];
      });
      svg.dispatchEvent(new Event("input", { bubbles: true }));
    });
    ["pointerup", "pointercancel"].forEach((name) => live.addEventListener(name, () => { grip = null; }));
    // A picture changes places with its neighbour, and keeps the focus.
    live.addEventListener("click", (event) => {
      const mover = event.target.closest("[name=move]");
      if (!mover) return;
      event.preventDefault();
      const row = mover.closest(".picture-row"), isUp = mover.value.startsWith("up ");
      const other = isUp ? row.previousElementSibling : row.nextElementSibling;
      if (other) other[isUp ? "before" : "after"](row);
      (mover.offsetParent ? mover : row.querySelector(isUp ? ".down" : ".up")).focus();
      row.dispatchEvent(new Event("input", { bubbles: true }));
    });
    live.addEventListener("click", (event) => {
      const button = event.target.closest("[data-insert]");
      if (!button) return;
      const text = document.getElementById(button.parentNode.dataset.for);
      const [before, after] = button.dataset.insert.split("|");
      const { selectionStart: start, selectionEnd: end } = text;
      text.setRangeText(before + text.value.slice(start, end) + after, start, end, "end");
      text.focus();
      text.dispatchEvent(new Event("input", { bubbles: true }));
    });
  }

  // A button over several ticks says how many they are.
  const countTicks = () => all("button[data-counted]").forEach((button) => {
    const ticked = [...button.form.elements].filter((each) => each.name === "item" && each.checked).length;
    button.textContent = button.dataset.counted.replace("{number}", ticked);
    button.disabled = !ticked;
  });
  all("[data-tick-all]").forEach((each) => {
    each.closest("label").hidden = false;
    each.addEventListener("change", () => [...each.form.elements].filter(({ name }) => name === "item")
      .forEach((other) => { other.checked = each.checked; }));
  });
  document.addEventListener("change", countTicks);
  addEventListener("pageshow", countTicks);

  // The calendar: an entry dropped on another day, or another hour of a week, is saved with that time.
  let dragged = null;
  const dropPlace = (event) => dragged && event.target.closest("[data-day]");
  document.addEventListener("dragstart", (event) => {
    const { target } = event;  // a text node where a text is dragged
    dragged = target.closest && target.closest("[data-at]");
  });
  document.addEventListener("dragend", () => { dragged = null; });
  document.addEventListener("dragover", (event) => { if (dropPlace(event)) event.preventDefault(); });
  document.addEventListener("drop", (event) => {
    const place = dropPlace(event);
    if (!place) return;
    event.preventDefault();
    const { at: was } = dragged.dataset;
    const at = place.dataset.day + "T" + (place.dataset.hour || was.slice(11, 13)) + was.slice(13);
    if (at === was) return;
    const form = document.getElementById("move");
    form.action = dragged.getAttribute("href") + "/move";
    [form.elements.was.value, form.elements.at.value] = [was, at];
    form.elements.back.value = location.pathname + location.search;
    form.submit();
  });

  // Times left and clocks.
  const tick = () => {
    const clock = readClock();
    all("time[data-clock]").forEach((each) => { each.textContent = clock; });
    all("[data-until]").forEach((each) => {
      const minutes = Math.floor((Date.parse(each.dataset.until) - Date.now()) / 60000);
      if (minutes >= 0 && minutes <= 120) each.textContent = each.dataset.left.replace("{minutes}", minutes);
    });
  };
  setInterval(tick, 5000);

  // Seat maps: pointing or the arrow keys name a seat, and Enter opens its delivery. Without script a map is a link.
  const hint = document.getElementById("seat-hint");
  if (hint) {
    const PITCH = 13, COLUMNS = 10;
    const places = hint.dataset.places.split("|");
    const signs = Object.fromEntries(hint.dataset.signs.split("|").map((pair) => pair.split("=")));
    let chosen = null;
    const hide = () => {
      hint.hidden = true;
      chosen = null;
      all(".map .ring").forEach((ring) => ring.remove());
    };
    const name = (map, seat) => {
      if (!(seat in places)) return hide();
      const [x, y] = [PITCH * (seat % COLUMNS) + 7, PITCH * Math.floor(seat / COLUMNS) + 7];
      const path = all("path", map).find((each) => [...each.getAttribute("d").matchAll(/M(\d+) (\d+)(?:h(\d+))?/g)]
        .some(([, left, top, run = 0]) => +top === y && x >= +left && x <= +left + +run));
      const words = signs[path && path.classList[0]];
      const box = map.getBoundingClientRect(), scale = box.width / map.viewBox.baseVal.width;
      hint.textContent = places[seat] + (words ? "　" + words : "");
      hint.hidden = false;
      hint.style.left = `${Math.min(box.left + scale * x, innerWidth - hint.offsetWidth - 8)}px`;
      hint.style.top = `${box.top + scale * (y + 10)}px`;
    };
    const mapOf = (event) => {
      const link = event.target.closest && event.target.closest("a[data-seats]");
      return link && link.querySelector("svg");
    };
    document.addEventListener("pointermove", (event) => {
      const map = event.pointerType === "mouse" && mapOf(event);
      if (!map) { if (chosen === null) hide(); return; }
      const box = map.getBoundingClientRect(), pitch = PITCH * box.width / map.viewBox.baseVal.width;
      const column = Math.floor((event.clientX - box.left) / pitch);
      name(map, column < COLUMNS ? COLUMNS * Math.floor((event.clientY - box.top) / pitch) + column : -1);
    });
    document.addEventListener("keydown", (event) => {
      const map = mapOf(event);
      const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -COLUMNS, ArrowDown: COLUMNS }[event.key];
      if (map && step) {
        event.preventDefault();
        const seat = chosen === null ? 0 : chosen + step;
        if (!(seat in places)) return;
        hide();
        chosen = seat;
        name(map, seat);
        const ring = document.createElementNS("http://www.w3.org/2000/svg", "circle");
        ring.setAttribute("class", "ring");
        ring.setAttribute("cx", PITCH * (seat % COLUMNS) + 7);
        ring.setAttribute("cy", PITCH * Math.floor(seat / COLUMNS) + 7);
        ring.setAttribute("r", 6);
        map.append(ring);
      } else if (map && event.key === "Enter" && chosen !== null) {
        event.preventDefault();
        location.href = `${map.parentNode.getAttribute("href")}&seat=${chosen}`;
      } else if (event.key === "Escape") hide();
    });
    document.addEventListener("focusout", hide);
    document.addEventListener("scroll", hide, { passive: true });
  }

  // Keys, outside of fields only.
  const pages = { t: "/today", i: "/inbox", c: "/calendar", p: "/posts", a: "/accounts" };
  let isAfterG = false;
  document.addEventListener("keydown", (event) => {
    const target = event.target;
    if (event.metaKey || event.ctrlKey || event.altKey || document.body.dataset.keys === "off") return;
    if (target.closest("input, textarea, select, [contenteditable], dialog[open]")) return;
    const link = (path) => document.querySelector(`nav a[href="${path}"]`);
    if (isAfterG && pages[event.key] && link(pages[event.key])) {
      location.href = pages[event.key];
    } else if (event.key === "/") {
      const search = document.querySelector('[data-key="/"]');
      if (search) { event.preventDefault(); search.focus(); }
    } else if (event.key === "?") {
      location.href = "/help";
    } else if (event.key === "n" && link("/write")) {
      location.href = "/write";
    } else if (event.key === "j" || event.key === "k") {
      const rows = all("[data-row]").filter((row) => row.offsetParent);
      const next = rows[rows.indexOf(document.activeElement.closest("[data-row]")) + (event.key === "j" ? 1 : -1)];
      const place = next && (next.querySelector("a") || next);
      if (place) place.focus();
    }
    isAfterG = event.key === "g";
  });
})();
