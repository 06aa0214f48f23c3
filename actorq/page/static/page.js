"use strict";
// Keeps the page true: the server sends each part again when it has changed, and what differs is changed in place, so
// that what has the focus, is open or was scrolled stays as it is.
(() => {
  const address = document.body.dataset.live;
  if (!address) return;
  const lamp = document.getElementById("live"), word = document.getElementById("live-word");
  // how long to wait for a server that has ended, or has too many readers, milliseconds
  const AGAIN = 5000;
  let source = null, timer = 0;

  const say = (state, text) => { lamp.dataset.state = state; word.textContent = text; };

  const attributes = (from, to) => {
    for (const { name, value } of [...to.attributes]) if (from.getAttribute(name) !== value) from.setAttribute(name, value);
    for (const { name } of [...from.attributes]) {
      if (!to.hasAttribute(name) && !(name === "open" && from.localName === "details")) from.removeAttribute(name);
    }
  };

  const alike = (a, b) => a.nodeName === b.nodeName && (a.id || "") === (b.id || "");

  const morph = (from, to) => {
    if (from.nodeType !== Node.ELEMENT_NODE) {
      if (from.data !== to.data) from.data = to.data;
      return;
    }
    const wasClosed = from.localName === "details" && !from.open;
    if (!from.isEqualNode(to)) { attributes(from, to); children(from, to); }
    if (wasClosed) from.open = false;
  };

  const children = (from, to) => {
    const wanted = new Set([...to.children].map(each => each.id).filter(Boolean));
    let at = from.firstChild;
    for (const want of [...to.childNodes]) {
      while (at && at.id && !wanted.has(at.id)) { const gone = at; at = at.nextSibling; gone.remove(); }
      let have = at;
      if (want.id && have && have.id !== want.id) {
        have = [...from.children].find(each => each.id === want.id) || null;
        if (have) from.insertBefore(have, at);
      }
      if (have && alike(have, want)) { morph(have, want); at = have.nextSibling; } else from.insertBefore(want, at);
    }
    while (at) { const gone = at; at = at.nextSibling; gone.remove(); }
  };

  const show = ({ part, html }) => {
    const place = document.getElementById(`part-${part}`);
    if (!place) return;
    const made = document.createElement("template");
    made.innerHTML = html;
    children(place, made.content);
  };

  const open = () => {
    close();
    source = new EventSource(address);
    source.onopen = () => say("on", "live");
    source.onmessage = event => show(JSON.parse(event.data));
    source.onerror = () => {
      say("off", "not connected");
      if (source && source.readyState === EventSource.CLOSED) { close(); timer = setTimeout(open, AGAIN); }
    };
  };

  const close = () => {
    clearTimeout(timer);
    if (source) source.close();
    source = null;
  };

  // a browser has six connections to a server: one that nobody looks at is given back
  document.addEventListener("visibilitychange", () => { if (document.hidden) { close(); say("off", "paused"); } else open(); });
  addEventListener("pagehide", close);
  addEventListener("pageshow", event => { if (event.persisted) open(); });
  open();
})();
