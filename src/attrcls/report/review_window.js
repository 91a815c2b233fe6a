// A long list of which only what is near the viewport is in the document. Heights are fixed per layout, by the stylesheet.

const OVERSCAN_PX = 500;
const GAP_PX = 12;

/**
 * Show cards in `list`, in rows below a heading per head.
 * `draw.heading(head)` and `draw.card(card)` make elements; `isWide(card)` says which cards take a row of their own.
 */
function openWindow(list, { bar, draw, headOf, isWide }) {
  let rows = []; // {top, height, head} or {top, height, cards, columns}
  let rowOf = new Map(); // card -> its row's place in `rows`
  let cards = [];
  let asked = false;
  const drawn = new Map(); // place in `rows` -> element

  const size = (name) => Number.parseFloat(getComputedStyle(list).getPropertyValue(name));
  const listTop = () => list.getBoundingClientRect().top + window.scrollY;

  function layOut() {
    const heights = { heading: size("--heading-height"), single: size("--single-height"), group: size("--group-height") };
    const columns = Math.max(1, Math.floor((list.clientWidth + GAP_PX) / (size("--single-width") + GAP_PX)));
    rows = [];
    rowOf = new Map();
    let top = 0;
    const push = (row) => {
      rows.push({ ...row, top });
      top += row.height + GAP_PX;
    };
    let head = null;
    for (const card of cards) {
      if (headOf(card) !== head) {
        head = headOf(card);
        push({ head, height: heights.heading });
      }
      const last = rows.at(-1);
      if (isWide(card)) push({ cards: [card], columns: 1, height: heights.group });
      else if (last.cards && last.columns === columns && !isWide(last.cards[0]) && last.cards.length < columns) last.cards.push(card);
      else push({ cards: [card], columns, height: heights.single });
      rowOf.set(card, rows.length - 1);
    }
    list.style.height = `${top}px`;
    for (const element of drawn.values()) element.remove();
    drawn.clear();
    render();
  }

  function render() {
    asked = false;
    const from = window.scrollY - listTop() - OVERSCAN_PX;
    const to = from + window.innerHeight + 2 * OVERSCAN_PX;
    const first = firstBelow(from);
    let end = first;
    while (end < rows.length && rows[end].top < to) end += 1;
    for (const [place, element] of drawn) {
      if (place >= first && place < end) continue;
      element.remove();
      drawn.delete(place);
    }
    let before = null; // inserted from the last to the first, so that Tab goes through the cards in order
    for (let place = end - 1; place >= first; place -= 1) {
      if (!drawn.has(place)) {
        drawn.set(place, drawRow(rows[place]));
        list.insertBefore(drawn.get(place), before);
      }
      before = drawn.get(place);
    }
  }

  function firstBelow(px) {
    let [low, high] = [0, rows.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (rows[middle].top + rows[middle].height < px) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  function drawRow(row) {
    const element = make("div", { className: "row", role: "presentation" });
    element.style.top = `${row.top}px`;
    element.style.height = `${row.height}px`;
    if (row.head) {
      element.append(draw.heading(row.head));
    } else {
      element.style.gridTemplateColumns = `repeat(${row.columns}, minmax(0, 1fr))`;
      element.append(...row.cards.map(draw.card));
    }
    return element;
  }

  function ask() {
    if (asked) return;
    asked = true;
    requestAnimationFrame(render);
  }

  /** Where a card's row lies in the viewport, and what of the viewport the bar leaves free. */
  function place(card) {
    const row = rows[rowOf.get(card)];
    const top = listTop() + row.top - window.scrollY;
    return { row, above: rows[rowOf.get(card) - 1], top, bottom: top + row.height, free: bar.getBoundingClientRect().height + 8 };
  }

  window.addEventListener("scroll", ask, { passive: true });
  window.addEventListener("resize", ask);
  let width = list.clientWidth;
  new ResizeObserver(() => {
    if (list.clientWidth === width) return;
    width = list.clientWidth;
    layOut();
  }).observe(list);

  return {
    show(chosen) {
      cards = chosen;
      layOut();
    },

    /** Whether at least the larger part of a card can be seen. */
    isSeen(card) {
      const { row, top, bottom, free } = place(card);
      return Math.min(bottom, window.innerHeight) - Math.max(top, free) > row.height / 2;
    },

    /** Scroll as little as it takes to see all of a card, and make sure that it is drawn. */
    reveal(card) {
      const { row, above, top: cardTop, bottom, free } = place(card);
      // The heading comes along where it is next to the card and there is room for both.
      const withHeading = above?.head ? cardTop - (row.top - above.top) : cardTop;
      const top = bottom - withHeading < window.innerHeight - free ? withHeading : cardTop;
      let by = 0;
      if (bottom > window.innerHeight - 8) by = bottom - window.innerHeight + 8;
      if (top - by < free) by = top - free;
      if (by) window.scrollBy(0, by);
      render();
    },

    /** The card `by` rows above or below another, as near to its column as there is one. */
    vertical(card, by) {
      const start = rowOf.get(card);
      const column = rows[start].cards.indexOf(card);
      for (let at = start + by; at >= 0 && at < rows.length; at += by) {
        if (rows[at].cards) return rows[at].cards[Math.min(column, rows[at].cards.length - 1)];
      }
      return card;
    },
  };
}
