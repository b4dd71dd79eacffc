// People who sign in at another site, in Chromium: which cookies a browser sends along the way, no other client can say.

import assert from "node:assert/strict";
import {execFileSync, spawn} from "node:child_process";
import {createSign, generateKeyPairSync} from "node:crypto";
import {mkdtempSync, rmSync, writeFileSync} from "node:fs";
import {createServer} from "node:http";
import {tmpdir} from "node:os";
import {join} from "node:path";
import {after, before, test} from "node:test";
import {binary, launch, open} from "./lib.mjs";

const {privateKey, publicKey} = generateKeyPairSync("rsa", {modulusLength: 2048});
const base64 = value => Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");

/** An issuer at localhost, which is another site than 127.0.0.1. It signs in whoever presses its button. */
function issuer(answer, url, nonces) {
  const {pathname, searchParams} = url;
  const json = value => {
    answer.setHeader("content-type", "application/json");
    answer.end(JSON.stringify(value));
  };
  if (pathname === "/.well-known/openid-configuration") {
    return json({issuer: url.origin, authorization_endpoint: `${url.origin}/authorize`, token_endpoint: `${url.origin}/token`, jwks_uri: `${url.origin}/keys`});
  }
  if (pathname === "/keys") return json({keys: [{...publicKey.export({format: "jwk"}), kid: "one", use: "sig", alg: "RS256"}]});
  if (pathname === "/authorize") {
    nonces.last = searchParams.get("nonce");
    const back = `${searchParams.get("redirect_uri")}?code=c0de&state=${searchParams.get("state")}`;
    answer.setHeader("content-type", "text/html");
    return answer.end(`<!doctype html><title>issuer</title><form method="get" action="/pressed"><input type="hidden" name="back" value="${back.replaceAll("&", "&amp;")}"><button>I am Ada</button></form>`);
  }
  if (pathname === "/pressed") return answer.writeHead(302, {location: searchParams.get("back")}).end();
  if (pathname === "/token") {
    const now = Math.floor(Date.now() / 1000);
    const signed = `${base64({alg: "RS256", kid: "one"})}.${base64({iss: url.origin, sub: "ada", aud: "wasmill", exp: now + 60, iat: now, nonce: nonces.last})}`;
    return json({token_type: "Bearer", id_token: `${signed}.${createSign("RSA-SHA256").update(signed).sign(privateKey, "base64url")}`});
  }
  answer.writeHead(404).end();
}

let browser, folder, child, url, identities;
before(async () => {
  const nonces = {};
  identities = createServer((request, answer) => issuer(answer, new URL(request.url, `http://${request.headers.host}`), nonces));
  await new Promise(done => identities.listen(0, "localhost", done));
  const free = createServer();
  await new Promise(done => free.listen(0, "127.0.0.1", done));
  const {port} = free.address();
  await new Promise(done => free.close(done));
  url = `http://127.0.0.1:${port}/`;
  folder = mkdtempSync(join(tmpdir(), "wasmill-sign-in-"));
  writeFileSync(join(folder, "people.toml"), '[[person]]\nuser = "ada"\nscopes = ["admin"]\n');
  const settings = ["--keys-file", "people.toml", "--openid-issuer", `http://localhost:${identities.address().port}`, "--openid-client-id", "wasmill", "--openid-public-url", url];
  child = spawn(binary, ["serve", "--listen", `127.0.0.1:${port}`, ...settings], {cwd: folder, stdio: "ignore"});
  browser = await launch();
  while (!(await fetch(`${url}readyz`).catch(() => null))?.ok) await new Promise(done => setTimeout(done, 50));
});
after(async () => {
  await browser?.close();
  const ended = new Promise(done => child.once("exit", done));
  child.kill("SIGKILL");
  await ended;
  identities.close();
  rmSync(folder, {recursive: true, force: true});
});

test("a person who signs in at another site comes to the page asked for, and acts there", async () => {
  const {context, page, wrong} = await open(browser, {});
  await page.goto(`${url}ui/tasks`);
  await page.locator("text=Sign in with OpenID Connect").click();
  assert.equal(new URL(page.url()).hostname, "localhost");
  await page.locator("button").click();
  // The page after the answer continues by itself, and this time the browser sends the cookie.
  await page.waitForURL(`${url}ui/`);
  await page.locator("text=ada").first().waitFor();
  const cookies = await context.cookies();
  assert.deepEqual(cookies.map(({name, httpOnly, sameSite}) => ({name, httpOnly, sameSite})), [{name: "wasmill", httpOnly: true, sameSite: "Strict"}]);
  assert.equal(await page.evaluate(() => document.cookie), "");
  // A form of the dashboard is one of this server.
  await page.goto(`${url}ui/submit`);
  await page.goto(`${url}ui/login/openid?next=/ui/schedules`);
  await page.locator("button").click();
  await page.waitForURL(`${url}ui/schedules`);
  // Its answer counts once: the way back ends at the form.
  await page.goto(`${url}ui/login/callback?code=c0de&state=x`);
  assert.equal(page.url(), `${url}ui/login?error=sign-in-failed`);
  await page.locator("text=Nobody has signed in; begin again.").waitFor();
  await context.close();
  // The first page was refused, which a browser reports.
  assert.deepEqual(wrong.filter(text => !/401/.test(text)), []);
  const audit = execFileSync(binary, ["audit", "--json"], {cwd: folder}).toString();
  assert.equal(audit.match(/signInElsewhere/g).length, 2, audit);
});
