// Drives the attention page in headless Chromium as a reader would: pointer, keys, addresses. browser.mjs says how it is
// started.

import {check, runChecks, same} from './browser.mjs';

const key = (place) => `.token[data-lane="key"][data-place="${place}"]`;
const query = (place) => `.token[data-lane="query"][data-place="${place}"]`;
const heading = '#reading h3';
const textOf = (selector) => `document.querySelector(${JSON.stringify(selector)}).textContent`;
const columnTexts = 'page.view.columns.map((unit) => unit.text)';
const rowTexts = 'page.view.rows.map((unit) => unit.text)';
const rowSumErrors = `Math.max(...page.view.rows.map((_, row) =>
    Math.abs(page.view.columns.reduce((sum, __, column) => sum + page.view.at(row, column), 0) - 1)))`;

async function showsTheBestAlignmentFirst(browser) {
  await browser.open();
  same('first title', await browser.text('figure-title'),
       'Cross-attention, layer 5 of 6, mean over 8 heads \u2013 aligned 0.76');
  same('source pieces', await browser.get(`${columnTexts}.slice(3, 6)`), ['is', 'run', 'ning']);
  same('strongest key of each piece',
       await browser.get('page.view.rows.map((_, row) => page.view.ranking("query", row)[0].place)'),
       [0, 1, 2, 4, 6, 7, 8, 9, 10, 10, 11, 12]);
  check('curves are drawn', (await browser.get('document.querySelectorAll("#figure path").length')) >= 12);
  check('rows sum to 1', (await browser.get(rowSumErrors)) < 0.03);
  check('row sums are told', /^Rows sum to 1 \u00b1 \d/.test(await browser.text('sums')), await browser.text('sums'));
}

async function weightsAreTheStoredOnes(browser) {
  same('the mean is that of the heads', await browser.get(`(() => {
    const map = page.map;
    const cell = 2 * map.columns + 2;
    const heads = [...Array(map.heads).keys()].map((head) => map.weights(head)[cell]);
    return Math.abs(map.weights('mean')[cell] - heads.reduce((sum, weight) => sum + weight) / map.heads) < 1e-6;
  })()`), true);
  same('a cell is scale / 65535 * byte / 255', await browser.get(`(() => {
    const stored = JSON.parse(document.getElementById('sentence-0').textContent).maps.find(
        (map) => map.kind === 'cross' && map.layer === 4);
    const scales = atob(stored.scales);
    const line = 3 * stored.rows + 1;
    const scale = scales.charCodeAt(2 * line) + 256 * scales.charCodeAt(2 * line + 1);
    const weight = scale / 65535 * atob(stored.weights).charCodeAt(line * stored.columns + 5) / 255;
    return Math.abs(weight - page.map.weights(3)[stored.columns + 5]) < 1e-7;
  })()`), true);
}

async function pointerReadsAndKeeps(browser) {
  await browser.open();
  await browser.point(query(2));
  same('pointing reads a word', await browser.get(textOf(heading)), 'Writing \u201cHund\u201d');
  same('its strongest partner', await browser.get(textOf('#reading li bdi')), 'dog');
  same('the number beside the partner', await browser.get(`${textOf(`${key(2)} text:last-child`)}`),
       (await browser.get('page.view.at(2, 2)')).toFixed(2));
  await browser.point('h1');
  same('leaving lets go', await browser.get(textOf(heading)), 'Layer 5, mean over heads');
  await browser.click(query(2));
  await browser.point('h1');
  same('a click keeps', await browser.get(textOf(heading)), 'Writing \u201cHund\u201d');
  same('the address keeps it too', (await browser.address()).lock, 'q3');
  await browser.point(key(1));
  same('pointing elsewhere still reads', await browser.get(textOf(heading)), 'Looking at \u201clittle\u201d');
  await browser.click('#heatmap svg');
  const {lock} = await browser.address();
  check('the heat map keeps a cell', /^q\d+k\d+$/.test(lock), lock);
  const reading = await browser.text('reading');
  check('and reads it', /gets 0\.\d{3}, rank \d+ of 13\./.test(reading), reading);
}

async function keysMove(browser) {
  await browser.open('#lock=q3');
  await browser.press('ArrowRight');
  same('arrow moves on', (await browser.address()).lock, 'q4');
  await browser.press('ArrowUp');
  same('arrow goes to the strongest partner', (await browser.address()).lock, 'k5');
  await browser.press('ArrowLeft', 'ArrowRight', 'ArrowDown');
  same('and back', (await browser.address()).lock, 'q4');
  await browser.press(']', '3');
  const chosen = async () => {
    const {layer, head, lock} = await browser.address();
    return [layer, head, lock];
  };
  same('layer and head change, the word stays', await chosen(), ['6', '3', 'q4']);
  await browser.press('[', '.', 'Escape');
  same('back, next, let go', await chosen(), ['5', '4', '']);
  await browser.press('d');
  same('decoder', (await browser.address()).kind, 'decoder');
  await browser.press('n');
  same('next sentence', (await browser.address()).sentence, '2');
  await browser.get('document.querySelector("#heatmap svg").focus()');
  await browser.press('ArrowDown', 'ArrowDown', 'ArrowRight');
  same('arrows move in the heat map', (await browser.address()).lock, 'q2k2');
  await browser.get(`document.querySelector('${query(0)}').focus()`);
  await browser.press('ArrowRight');
  same('the focus moves along', await browser.get('document.activeElement.dataset.place'), '1');
}

async function decoderSeesOnlyWhatItRead(browser) {
  await browser.open('#kind=decoder&layer=1&head=1');
  same('keys are the inputs', await browser.get(`${columnTexts}.slice(0, 3)`), ['<pad>', 'Der', 'kleine']);
  same('queries are the produced pieces', await browser.get(`${rowTexts}.slice(0, 3)`), ['Der', 'kleine', 'Hund']);
  same('it cannot look ahead', await browser.get('[page.view.masked(1, 1), page.view.masked(1, 2)]'), [false, true]);
  check('which is said', await browser.get('!document.getElementById("legend-masked").hidden'));
}

async function switchesChangeTheView(browser) {
  await browser.open('#kind=encoder&layer=2');
  await browser.press('w');
  check('pieces become words', await browser.get('page.view.rows.some((unit) => unit.text === "running")'));
  check('whose rows sum to 1', (await browser.get(rowSumErrors)) < 0.03);
  await browser.press('t');
  check('symbols leave', await browser.get('!page.view.rows.some((unit) => unit.special)'));
  await browser.press('s');
  check('stretched colours are told', (await browser.text('mass')).includes('stretched so that'));
  const state = await browser.address();
  same('all of it in the address', [state.words, state.text, state.stretch], ['1', '1', '1']);
  const title = await browser.text('figure-title');
  const mass = await browser.text('mass');
  await browser.open(`#${new URLSearchParams(state)}`);
  same('an address restores the view', [await browser.text('figure-title'), await browser.text('mass')], [title, mass]);
  await browser.open('#sentence=99&kind=nonsense&layer=77&head=88&top=-3&lock=q999k1');
  same('a wrong address is mended', await browser.get('page.view.rows.length > 0'), true);
}

async function sentencesAreFound(browser) {
  await browser.open();
  await browser.click('#sentence-open');
  await browser.press(...'YELLOW');
  const listed = '[...document.querySelectorAll("#sentence-list li:not([hidden])")].map((item) => item.textContent)';
  same('search', await browser.get(listed), ['A yellow car stops .Ein Auto h\u00e4lt an .']);
  await browser.press('ArrowDown');
  await browser.get('document.querySelector("#sentence-list li:not([hidden]) button").click()');
  same('choice', (await browser.address()).sentence, '6');
  check('closes the list', await browser.get('document.getElementById("sentence-panel").hidden'));
}

async function longTextsArePooledAndSaySo(browser) {
  await browser.open('#sentence=9');
  same('rows', await browser.get('[page.view.rows.length, page.map.queries]'), [201, 601]);
  same('notice', (await browser.text('pooling')).split('.')[0],
       'Long text: 601 \u00d7 601 weights a head are shown as 201 \u00d7 201');
  check('curves are capped', await browser.get('document.querySelectorAll("#figure path").length <= 2000'));
  check('rows still sum to 1', (await browser.get(rowSumErrors)) < 0.2);
}

async function hostileTextIsShownLiterally(browser) {
  await browser.open('#sentence=10');
  same('tokens', (await browser.get(columnTexts)).slice(0, 7), [
    '</script><script>alert(1)</script>', '<!--', '<img src=x onerror=alert(1)>', '{{script}}', 'a[U+202E]b[U+2066]c',
    '\u2407\u241b[31m', '\ufffd\ufffd(']);
  const made = 'document.querySelectorAll("img, script:not([type]) ~ *").length';
  same('no element came of it', await browser.get(made), 0);
  await browser.point(query(2));
  same('reading', await browser.get(textOf(heading)), 'Writing \u201c<img src=x onerror=alert(1)>\u201d');
}

async function picturesAreSaved(browser) {
  await browser.open('#sentence=10&lock=q3');
  for (const part of ['figure', 'heatmap']) {
    same(`${part} as SVG`, await browser.get(`svgBlob(page.picture('${part}')).text().then((text) => {
      const picture = new DOMParser().parseFromString(text, 'image/svg+xml');
      const count = (name) => picture.querySelectorAll(name).length;
      return [count('parsererror'), picture.documentElement.tagName, count('text') > 9];
    })`), [0, 'svg', true]);
    same(`${part} as PNG`, await browser.get(`pngBlob(page.picture('${part}')).then(async (blob) => {
      const bytes = new Uint8Array(await blob.arrayBuffer());
      return [String.fromCharCode(...bytes.slice(1, 4)), bytes.length > 5000];
    })`), ['PNG', true]);
  }
}

async function coloursCanBeReadAndTold(browser) {
  for (const scheme of ['light', 'dark']) {
    await browser.open('', {scheme});
    const contrasts = await browser.get(`(() => {
      const rgb = (name) => themeColour(name).match(/[0-9a-f]{2}/g).map((part) => parseInt(part, 16));
      const contrast = (a, b) => {
        const [low, high] = [luminance(rgb(a)), luminance(rgb(b))].sort((x, y) => x - y);
        return (high + 0.05) / (low + 0.05);
      };
      const pairs = [
        ['ink', 'surface'], ['muted', 'surface'], ['faint', 'surface'], ['accent', 'surface'], ['ink', 'page'],
        ['muted', 'page'], ['accent-ink', 'accent'], ['ink', 'hover'], ['ink', 'notice']];
      return pairs.map(([a, b]) => [a, b, contrast(a, b)]);
    })()`);
    for (const [ink, ground, contrast] of contrasts) {
      check(`${scheme}: ${ink} on ${ground} is 4.5:1`, contrast >= 4.5, contrast);
    }
    check(`${scheme}: numbers are readable on the whole scale`, await browser.get(`currentScale().every((rgb) => {
      const ground = luminance(rgb);
      return (inkOn(rgb) === '#000' ? (ground + 0.05) / 0.05 : 1.05 / (ground + 0.05)) >= 4.5;
    })`));
    check(`${scheme}: the scale never turns back`, await browser.get(`currentScale().map(luminance).every(
        (value, step, all) => step === 0 || (value - all[step - 1]) * (all[255] - all[0]) >= -1e-3)`));
  }
}

async function numbersAreATable(browser) {
  await browser.open('#kind=decoder&layer=1&head=1');
  await browser.get('document.getElementById("numbers").open = true');
  await browser.get('new Promise((resolve) => setTimeout(resolve, 50))');
  same('table', await browser.get(`(() => {
    const rows = [...document.querySelectorAll('#table tr')];
    return [rows.length, rows[0].children.length, rows[1].children[1].textContent, rows[1].children[2].textContent];
  })()`), [13, 13, '1.000', '\u2013']);
}

async function fitsSmallWindows(browser) {
  for (const width of [360, 800, 1400]) {
    for (const sentence of [1, 3, 10]) {
      await browser.open(`#sentence=${sentence}`, {width});
      check(`${width} wide: sentence ${sentence} needs no sideways scrolling`,
            await browser.get('document.documentElement.scrollWidth <= innerWidth'));
    }
  }
}

await runChecks([
  showsTheBestAlignmentFirst, weightsAreTheStoredOnes, pointerReadsAndKeeps, keysMove, decoderSeesOnlyWhatItRead,
  switchesChangeTheView, sentencesAreFound, longTextsArePooledAndSaySo, hostileTextIsShownLiterally, picturesAreSaved,
  coloursCanBeReadAndTold, numbersAreATable, fitsSmallWindows,
]);
