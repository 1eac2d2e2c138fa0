// Headless Chromium for checks of a page, as programs that are started with
//
//   node CHECK.mjs CHROMIUM PAGE PROFILE_DIRECTORY [MORE...]
//
// It is driven by the DevTools protocol over a pipe, which needs nothing but Node. runChecks() exits with 0 when all
// checks hold, 1 when one fails, 77 when the browser does not start.

import {spawn} from 'node:child_process';
import {pathToFileURL} from 'node:url';

const [chromium, file, profile] = process.argv.slice(2);
export const more = process.argv.slice(5);
const url = pathToFileURL(file).href;
const PATIENCE_MS = 30000;

class Browser {
  static async start() {
    const browser = new Browser();
    browser.process = spawn(chromium, [
      '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run',
      '--remote-debugging-pipe', `--user-data-dir=${profile}`,
    ], {stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe']});
    browser.process.on('error', () => browser.gone('it cannot be run'));
    browser.process.on('exit', () => browser.gone('it ended'));
    browser.listen();
    await browser.openTab();
    return browser;
  }

  constructor() {
    this.waiting = new Map();
    this.calls = 0;
    this.complaints = [];
    this.requests = [];
  }

  gone(reason) {
    this.end = new Error(`Chromium: ${reason}`);
    for (const {reject} of this.waiting.values()) reject(this.end);
    this.waiting.clear();
  }

  listen() {
    let text = '';
    this.process.stdio[3].on('error', () => {});
    this.process.stdio[4].on('data', (data) => {
      text += data;
      const messages = text.split('\0');
      text = messages.pop();
      for (const message of messages) this.receive(JSON.parse(message));
    });
  }

  receive({id, result, error, method, params}) {
    if (id) {
      const {resolve, reject} = this.waiting.get(id);
      this.waiting.delete(id);
      return error ? reject(new Error(error.message)) : resolve(result);
    }
    if (method === 'Runtime.consoleAPICalled') this.complaints.push(JSON.stringify(params.args));
    if (method === 'Runtime.exceptionThrown') this.complaints.push(params.exceptionDetails.exception?.description);
    if (method === 'Log.entryAdded') this.complaints.push(params.entry.text);
    if (method === 'Page.javascriptDialogOpening') this.complaints.push(`dialog: ${params.message}`);
    if (method === 'Network.requestWillBeSent') this.requests.push(params.request.url);
  }

  call(method, params = {}) {
    if (this.end) return Promise.reject(this.end);
    return new Promise((resolve, reject) => {
      this.waiting.set(++this.calls, {resolve, reject});
      this.process.stdio[3].write(`${JSON.stringify({id: this.calls, method, params, sessionId: this.session})}\0`);
    });
  }

  async openTab() {
    const {targetId} = await this.call('Target.createTarget', {url: 'about:blank'});
    this.session = (await this.call('Target.attachToTarget', {targetId, flatten: true})).sessionId;
    for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await this.call(`${domain}.enable`);
  }

  // Returns when the document at `address` has loaded; its fragment does not count.
  async navigate(address) {
    await this.call('Page.navigate', {url: address});
    const place = JSON.stringify(address.split('#')[0]);
    const there = `location.href.split('#')[0] === ${place} && document.readyState === 'complete'`;
    const deadline = Date.now() + PATIENCE_MS;
    while (!await this.get(there).catch(() => false)) {
      if (Date.now() > deadline) throw new Error(`${address} does not load`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  async open(address = '', {width = 1400, height = 1000, scheme = 'light'} = {}) {
    await this.call('Emulation.setDeviceMetricsOverride', {width, height, deviceScaleFactor: 1, mobile: false});
    await this.call('Emulation.setEmulatedMedia', {features: [{name: 'prefers-color-scheme', value: scheme}]});
    await this.navigate('about:blank');   // else another fragment alone would not load anew
    await this.navigate(url + address);
  }

  async get(expression) {
    const {result, exceptionDetails} =
        await this.call('Runtime.evaluate', {expression, returnByValue: true, awaitPromise: true});
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  async press(...keys) {
    for (const key of keys) {
      await this.call('Input.dispatchKeyEvent', {type: 'keyDown', key, text: key.length === 1 ? key : undefined});
      await this.call('Input.dispatchKeyEvent', {type: 'keyUp', key});
    }
  }

  async centreOf(selector) {
    return this.get(`(() => {
      const node = document.querySelector(${JSON.stringify(selector)});
      node.scrollIntoView({block: 'nearest'});
      const box = node.getBoundingClientRect();
      return {x: box.x + box.width / 2, y: box.y + box.height / 2};
    })()`);
  }

  async point(selector) {
    await this.call('Input.dispatchMouseEvent', {type: 'mouseMoved', ...await this.centreOf(selector)});
  }

  async click(selector) {
    const place = {...await this.centreOf(selector), button: 'left', clickCount: 1};
    await this.call('Input.dispatchMouseEvent', {type: 'mouseMoved', ...place, button: 'none'});
    await this.call('Input.dispatchMouseEvent', {type: 'mousePressed', ...place});
    await this.call('Input.dispatchMouseEvent', {type: 'mouseReleased', ...place});
  }

  text(id) {
    return this.get(`document.getElementById(${JSON.stringify(id)}).textContent`);
  }

  address() {
    return this.get('Object.fromEntries(new URLSearchParams(location.hash.slice(1)))');
  }
}

let failures = 0;

export function check(what, holds, found) {
  if (holds) return;
  ++failures;
  console.log(`FAILED: ${what}${found === undefined ? '' : `; found ${JSON.stringify(found)}`}`);
}

export function same(what, found, expected) {
  check(what, JSON.stringify(found) === JSON.stringify(expected), found);
}

async function run(browser, checks) {
  for (const each of checks) {
    try {
      await each(browser);
    } catch (error) {
      check(each.name, false, error.message);
    }
  }
  same('nothing on the console', [...new Set(browser.complaints)], []);
  const own = (request) => /^(data|blob|about):/.test(request) || request.split('#')[0] === url;
  same('no request leaves the file', [...new Set(browser.requests)].filter((request) => !own(request)), []);
}

export async function runChecks(checks) {
  const late = new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`Chromium: no answer in ${PATIENCE_MS} ms`)), PATIENCE_MS).unref();
  });
  let browser;
  try {
    browser = await Promise.race([Browser.start(), late]);
  } catch (error) {
    console.log(error.message);
    process.exit(77);
  }
  await run(browser, checks);
  browser.process.kill();
  process.exit(failures === 0 ? 0 : 1);
}
