// The attention page of a text whose tokens try to be markup: they are shown as they are. MORE is a JSON file with the
// texts of the first tokens.

import {readFileSync} from 'node:fs';
import {check, more, runChecks, same} from './browser.mjs';

async function tokensAreShownLiterally(browser) {
  await browser.open();
  const expected = JSON.parse(readFileSync(more[0], 'utf8'));
  const texts = await browser.get('page.view.columns.map((unit) => unit.text)');
  same('tokens', texts.slice(0, expected.length), expected);
  const drawn = await browser.get('[...document.querySelectorAll(".token")].map((token) => token.textContent)');
  check('the first is drawn', drawn.some((token) => token.includes(expected[0].slice(0, 9))), drawn);
  same('nothing ran', await browser.get('typeof broken'), 'undefined');
  same('no element came of it', await browser.get('document.querySelectorAll("img, script:not([type]) ~ *").length'), 0);
  same('the blocks of data are whole', await browser.get(`[...document.querySelectorAll(
      'script[type="application/json"]')].every((block) => JSON.parse(block.textContent))`), true);
}

await runChecks([tokensAreShownLiterally]);
