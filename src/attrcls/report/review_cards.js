// What a card looks like. Text from the dataset is only ever set as text.

const MARKS = { [KEEP]: "✓", [DROP]: "✕", [RELABEL]: "→" };
const WORDS = { [KEEP]: "keep", [DROP]: "drop", [RELABEL]: "relabel" };

/** An element with properties and children; strings among these become text. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Draw the cards of a review; `mark` brings one that is drawn up to date. */
function openCards({ review, decisions }) {
  const { suspects, classes, cards, pictures } = review;
  const formats = { percent: new Intl.NumberFormat("en", { style: "percent" }), score: new Intl.NumberFormat("en", { maximumSignificantDigits: 3 }) };
  const percent = (share) => (share === null ? "" : formats.percent.format(share));
  const score = (value) => (value === null ? "–" : formats.score.format(value));

  function draw(index) {
    const card = cards[index];
    const members = card.suspects.map((place) => suspects[place]);
    const wide = isWide(index);
    const element = make("article", { className: `suspect ${wide ? "group" : "single"}`, tabIndex: -1, role: "listitem" });
    element.dataset.card = index;
    element.setAttribute("aria-label", `${card.head}: ${describeChange(members)}`);
    element.append(drawPictures(card, wide), drawFacts(card, members, wide), drawChoices(index, members));
    mark(element);
    return element;
  }

  function isWide(index) {
    return cards[index].group !== "";
  }

  function drawPictures(card, wide) {
    const strip = make("div", { className: "pictures" });
    for (const { picture, suspect, path, given } of card.pictures) {
      const figure = make("figure", { title: path, className: wide && suspect !== null ? "flagged" : "" });
      const uri = pictures[picture];
      figure.append(uri ? make("img", { src: uri, alt: "", decoding: "async" }) : make("span", { className: "gap" }, "no picture"));
      if (wide) figure.append(drawCaption(suspect, given));
      strip.append(figure);
    }
    if (card.hidden) strip.append(make("p", { className: "hidden" }, `and ${card.hidden} more`));
    return strip;
  }

  function drawCaption(suspect, given) {
    if (suspect === null) return make("figcaption", { className: "quiet" }, given || "no label");
    const { given_label, label_score } = suspects[suspect];
    return make("figcaption", {}, make("b", {}, "⚑ suspect"), ` ${given_label} · ${score(label_score)}`);
  }

  function drawFacts(card, members, wide) {
    const worst = members[0];
    const lowest = Math.min(...members.map(({ label_score }) => label_score ?? Infinity));
    const margins = `AUM ${score(worst.aum)}, threshold ${score(worst.threshold)}`;
    const reasons = [...new Set(members.map(({ reason }) => reason))].filter(Boolean).join("; ");
    const facts = make("div", { className: "facts" });
    facts.append(make("p", { className: "change", title: describeChange(members) }, ...drawChange(members)));
    facts.append(make("p", { className: "detail", title: `${reasons} · ${margins}` }, `score ${score(Number.isFinite(lowest) ? lowest : null)}`, reasons && ` · ${reasons}`));
    if (wide) {
      const count = `${members.length} of ${card.pictures.length + card.hidden} pictures suspect`;
      facts.append(make("p", { className: "path", title: card.group }, make("b", {}, card.group), ` · ${count}`));
    } else {
      const cut = worst.path.lastIndexOf("/") + 1;
      const path = make("p", { className: "path", title: `${worst.card} · row ${worst.row_id} · ${worst.path}` });
      path.append(make("span", { className: "folder" }, worst.path.slice(0, cut)), make("span", { className: "name" }, worst.path.slice(cut)));
      facts.append(path);
    }
    facts.append(make("p", { className: "standing" }));
    return facts;
  }

  /** "given → suggested 87%"; a group may have several such changes, the commonest first. */
  function drawChange(members) {
    const changes = new Map();
    for (const { given_label, suggested_label, suggested_confidence } of members) {
      const key = JSON.stringify([given_label, suggested_label]);
      const change = changes.get(key) ?? { given_label, suggested_label, times: 0, sum: 0 };
      changes.set(key, { ...change, times: change.times + 1, sum: change.sum + suggested_confidence });
    }
    const ordered = [...changes.values()].sort((one, other) => other.times - one.times);
    return ordered.flatMap(({ given_label, suggested_label, times, sum }, place) => [
      place ? ", " : "",
      ordered.length > 1 ? `${times} × ` : "",
      make("span", { className: "given" }, given_label),
      " → ",
      make("b", {}, suggested_label || "?"),
      make("span", { className: "quiet" }, ` ${percent(sum ? sum / times : null)}`),
    ]);
  }

  function describeChange(members) {
    return [...new Set(members.map(({ given_label, suggested_label }) => `${given_label} → ${suggested_label || "?"}`))].join(", ");
  }

  function drawChoices(index, members) {
    const { head } = cards[index];
    const suggested = commonest(members.map(({ suggested_label }) => suggested_label));
    const choices = make("div", { className: "choices" });
    choices.append(
      make("button", { type: "button", value: KEEP, title: "keep the label (k)" }, `${MARKS[KEEP]} Keep`),
      make("button", { type: "button", value: DROP, title: "drop the label (d)" }, `${MARKS[DROP]} Drop`),
      make("button", { type: "button", value: RELABEL, title: `relabel to ${suggested} (r)`, disabled: !suggested }, `${MARKS[RELABEL]} ${suggested || "?"}`),
    );
    if (classes[head].length > 2) {
      const select = make("select", { title: "another class" });
      select.setAttribute("aria-label", "relabel to another class");
      select.append(make("option", { value: "" }, "other…"), ...classes[head].map((name, place) => make("option", { value: place }, name)));
      choices.append(select);
    }
    return choices;
  }

  /** Show what a card stands at, in words and by its buttons; colour only repeats it. */
  function mark(element) {
    const card = cards[element.dataset.card];
    const entries = card.suspects.map((place) => decisions.of(place));
    const decided = card.suspects.every((place) => decisions.isDecided(place));
    const kinds = new Set(entries.map(({ decision }) => decision));
    const decision = kinds.size === 1 ? entries[0].decision : "mixed";
    const labels = [...new Set(entries.map(({ label }) => label).filter(Boolean))];
    const suggested = card.suspects.every((place, at) => entries[at].decision !== RELABEL || entries[at].label === suspects[place].suggested_label);
    const words = decision === RELABEL ? labels.join(", ") : WORDS[decision] ?? "differs by picture";
    element.dataset.state = decided ? decision : "undecided";
    element.querySelector(".standing").textContent = `${decided ? "" : "undecided, stands at "}${MARKS[decision] ?? "±"} ${words}`;
    for (const button of element.querySelectorAll(".choices button")) {
      button.setAttribute("aria-pressed", decided && button.value === decision && suggested);
    }
    const select = element.querySelector("select");
    if (!select) return;
    const other = decided && decision === RELABEL && !suggested && labels.length === 1;
    select.value = other ? classes[card.head].indexOf(labels[0]) : "";
    select.classList.toggle("chosen", other);
  }

  return { draw, mark, isWide };
}

function commonest(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].reduce((best, entry) => (entry[1] > best[1] ? entry : best))[0];
}
