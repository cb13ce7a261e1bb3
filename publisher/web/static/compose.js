// The form of a post: counters, rows, and what is pasted from tables and other editors. The form works without it.
(() => {
  "use strict";
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const live = document.querySelector("form[data-live]");
  const changed = (field) => field.dispatchEvent(new Event("input", { bubbles: true }));

  // How much more a field takes: counted on from what the last check said.
  live.addEventListener("input", ({ target: { id, value } }) => {
    const room = id && live.querySelector(`[data-for="${id}"]`);
    if (!room) return;
    const { left, length, unit, text, over } = room.dataset;
    const now = unit === "items" ? value.split("\n").filter((line) => line.trim()).length : [...value.trim()].length;
    const rest = left - (now - length);
    room.firstElementChild.textContent = (rest < 0 ? over : text).replace("{number}", Math.abs(rest));
    room.firstElementChild.classList.toggle("excess", rest < 0);
  });

  // Rows of inputs.
  const addRow = (rows) => {
    const row = rows.lastElementChild.cloneNode(true), limit = Number(rows.dataset.items);
    if (limit && rows.children.length >= limit) return null;
    all("[name]", row).forEach((each) => {
      each.value = "";
      each.dataset.testid = each.dataset.testid.replace(/\d+$/, rows.children.length + 1);
    });
    rows.append(row);
    return row;
  };
  live.addEventListener("click", (event) => {
    const adder = event.target.closest("[data-add-row]");
    if (!adder) return;
    event.preventDefault();
    addRow(adder.previousElementSibling)?.querySelector("input").focus();
  });

  // Cells of a table go into the rows, from the field on into which they were pasted. Its head goes nowhere.
  const parse = (html) => new DOMParser().parseFromString(html, "text/html");
  const tidy = (text) => text.replace(/[\s\u200b\ufeff]+/g, " ").trim();
  const isNumber = (text) => /^[\d,，.]+$/.test(text);
  const readTable = (data) => {
    const table = parse(data.getData("text/html")).querySelector("table");
    const rows = table
      ? [...table.rows].map((row) => [...row.cells].map((cell) => tidy(cell.textContent)))
      : data.getData("text/plain").replace(/\r/g, "").split("\n").map((line) => line.split("\t").map(tidy));
    const filled = rows.filter((row) => row.some(Boolean));
    const [head, next] = filled;
    const hasHead = next && head.length > 1 && !head.some(isNumber) && next.some(isNumber);
    return hasHead ? filled.slice(1) : filled;
  };
  const pasteRows = (event, field) => {
    const table = readTable(event.clipboardData), rows = field.closest(".part-rows");
    if (table.length < 2 && (table[0] || []).length < 2) return;
    event.preventDefault();
    const shown = (row) => all("input:not([type=hidden]), select", row);
    let row = field.closest(".parts");
    const first = shown(row).indexOf(field);
    for (const cells of table) {
      row = row || addRow(rows);
      if (!row) break;
      const fields = shown(row).slice(first);
      cells.slice(0, fields.length).forEach((text, place) => {
        fields[place].value = isNumber(text) ? text.replace(/[,，]/g, "") : text;
      });
      row = row.nextElementSibling;
    }
    changed(field);
  };

  // Words of another editor become Markdown: headings, bold, lists, links and paragraphs. All else is left out.
  const SKIPPED = new Set("SCRIPT STYLE TITLE META LINK NOSCRIPT IFRAME SVG IMG OBJECT TEMPLATE".split(" "));
  const BLOCK = /^(P|DIV|SECTION|ARTICLE|BLOCKQUOTE|H[1-6]|UL|OL|LI|TABLE|TBODY|THEAD|TR|BODY|HEADER|FOOTER|FIGURE)$/;
  const styleOf = (node) => (node.getAttribute("style") || "").toLowerCase().replace(/\s/g, "");
  const isBold = (node) => {
    const weight = /font-weight:(\w+)/.exec(styleOf(node));
    if (weight) return weight[1].startsWith("bold") || Number(weight[1]) >= 600;
    return node.tagName === "B" || node.tagName === "STRONG";
  };
  const isHidden = (node) => SKIPPED.has(node.tagName.toUpperCase()) || /mso-list:ignore|display:none/.test(styleOf(node));
  const writeInline = (node, bold) => {
    if (node.nodeType === Node.TEXT_NODE) return node.data.replace(/[\s\u200b\ufeff]+/g, " ").replace(/[*`\\]/g, "\\$&");
    if (node.nodeType !== Node.ELEMENT_NODE || isHidden(node)) return "";
    if (node.tagName === "BR") return "\n";
    const isOwn = !bold && isBold(node), href = node.tagName === "A" && node.getAttribute("href");
    const words = [...node.childNodes].map((each) => writeInline(each, bold || isOwn)).join("");
    const [, before, inner, after] = /^(\s*)([^]*?)(\s*)$/.exec(words);
    if (!inner) return words;
    if (/^https?:/.test(href) && inner !== href) return `${before}[${inner}](${href})${after}`;
    return isOwn ? `${before}**${inner}**${after}` : words;
  };
  const listMark = (node) => {
    const mark = all("span", node).find((each) => styleOf(each).includes("mso-list:ignore"));
    return mark && (/\d/.test(mark.textContent) ? "1." : "-");
  };
  const markOf = (node) => {
    const level = /^H([1-6])$/.exec(node.tagName);
    if (level) return Number(level[1]) < 3 ? "##" : "###";
    if (node.tagName === "LI") return node.closest("ol, ul")?.tagName === "OL" ? "1." : "-";
    if (node.tagName === "BLOCKQUOTE") return ">";
    return styleOf(node).includes("mso-list:") ? listMark(node) : "";
  };
  const writeBlocks = (node, blocks, given = "") => {
    if (isHidden(node)) return;
    const mark = markOf(node) || given;
    let words = "";
    const end = () => {
      const lines = words.split("\n").map((line) => line.trim()).filter(Boolean);
      words = "";
      const isStressed = isBold(node) && !mark.startsWith("#") && lines.length === 1 && !lines[0].includes("**");
      if (lines.length) blocks.push([mark, isStressed ? `**${lines[0]}**` : lines.join("\n")]);
    };
    for (const child of node.childNodes) {
      const isBlock = child.nodeType === Node.ELEMENT_NODE && (BLOCK.test(child.tagName) || child.querySelector?.("p, div, section, li"));
      if (!isBlock) { words += writeInline(child, mark.startsWith("#")); continue; }
      end();
      if (child.tagName === "TR") blocks.push([mark, [...child.cells].map((cell) => tidy(writeInline(cell, true))).join("　")]);
      else writeBlocks(child, blocks, mark);
    }
    end();
  };
  const writeMarkdown = (html) => {
    const blocks = [];
    writeBlocks(parse(html).body, blocks);
    return blocks.map(([mark, words], place) => {
      const isItem = mark === "-" || mark === "1.";
      const text = mark ? words.split("\n").map((line, at) => `${at && isItem ? "  " : mark} ${line}`).join("\n") : words;
      const isNext = isItem && place && blocks[place - 1][0] === mark;
      return (place ? (isNext ? "\n" : "\n\n") : "") + text;
    }).join("");
  };
  const pasteWords = (event, field) => {
    const words = writeMarkdown(event.clipboardData.getData("text/html"));
    if (!words) return;
    event.preventDefault();
    // This way it can be undone with a key.
    if (document.execCommand("insertText", false, words)) return;
    field.setRangeText(words, field.selectionStart, field.selectionEnd, "end");
    changed(field);
  };
  live.addEventListener("paste", (event) => {
    const field = event.target;
    if (field.closest(".part-rows") && field.tagName === "INPUT") pasteRows(event, field);
    else if (field.id === "f-body") pasteWords(event, field);
  });
})();
