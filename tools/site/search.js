// Search in the sections, which the page itself holds: it works from a file and without a network.
"use strict";
{
  const SHOWN = 40, BEFORE = 8, AFTER = 20; // hits; words of a snippet around the first match
  const GREEK =
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma " +
    "sigma tau upsilon phi chi psi omega";
  const names = GREEK.split(" ");

  // Small letters without accents, σ as "sigma"; a blank before each word, so " si" begins one.
  const fold = (text) =>
    text
      .normalize("NFKD")
      .replace(/\p{M}/gu, "")
      .toLowerCase()
      .replace(/[α-ω]/g, (letter) => ` ${names[letter.charCodeAt(0) - 0x3b1]} `)
      .replace(/[^\p{L}\p{N}]+/gu, " ")
      .replace(/^ ?/, " ")
      .trimEnd();

  const find = (id) => document.getElementById(id);
  const make = (name, properties, ...inside) => {
    const node = Object.assign(document.createElement(name), properties);
    node.append(...inside);
    return node;
  };
  let sections; // made for the first search, not for every visit of the page
  const read = () =>
    JSON.parse(find("sections").textContent).map(([url, page, heading, text]) => {
      const words = text.split(" "), folded = words.map(fold), head = fold(heading);
      return { url, page, heading, words, folded, head, body: head + folded.join("") };
    });

  // Every word must begin some word of the section; headings come first, then the words in a row.
  const score = ({ head, body }, query, parts) => {
    if (!parts.every((part) => body.includes(part))) return 0;
    const heading = parts.every((part) => head.includes(part));
    return 1 + 8 * (head === query) + 4 * heading + 2 * body.includes(query);
  };

  const snippet = ({ words, folded }, query, parts) => {
    const row = (_, i) => folded.slice(i, i + parts.length).join("").startsWith(query);
    const one = (word) => parts.some((part) => word.includes(part));
    const first = [folded.findIndex(row), folded.findIndex(one), 0].find((place) => place >= 0);
    const from = Math.max(0, first - BEFORE), to = first + AFTER;
    const shown = words.slice(from, to).flatMap((word, i) => [
      one(folded[from + i]) ? make("mark", {}, word) : word, " ",
    ]);
    return [from > 0 ? "… " : "", ...shown, to < words.length ? "…" : ""];
  };

  const search = () => {
    const query = fold(find("search").value), parts = query.match(/ [^ ]+/g) ?? [];
    if (parts.length) sections ??= read();
    const hits = (parts.length ? sections : [])
      .map((section) => [score(section, query, parts), section])
      .filter(([points]) => points)
      .sort(([a], [b]) => b - a); // a stable sort: else the order of the course
    const said = `${hits.length || "No"} section${hits.length === 1 ? "" : "s"} found`;
    const cut = hits.length > SHOWN ? `; the first ${SHOWN}:` : "";
    find("found").textContent = parts.length ? said + cut : "";
    find("hits").replaceChildren(
      ...hits.slice(0, SHOWN).map(([, section]) =>
        make("li", {},
          make("a", { href: section.url }, section.heading), ` · ${section.page}`,
          make("p", {}, ...snippet(section, query, parts)))),
    );
  };

  find("search").addEventListener("input", search);
  window.addEventListener("pageshow", search); // back from a hit: the browser keeps what was typed
  find("search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    find("hits").querySelector("a")?.focus();
  });
}
