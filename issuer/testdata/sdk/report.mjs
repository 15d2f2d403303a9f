// Report prints what was checked, and keeps secrets out of what it prints.
export class Report {
  #secrets = new Set();
  #current = "starting";

  // hide keeps a value out of everything printed from now on.
  hide(secret) {
    this.#secrets.add(secret);
    this.#secrets.add(encodeURIComponent(secret));
  }

  // check runs one named check and prints its name when it holds.
  async check(name, run) {
    this.#current = name;
    const result = await run();
    console.log(`ok ${name}`);
    return result;
  }

  // fail prints the check that was running and what went wrong with it.
  fail(error) {
    console.error(this.#redact(`not ok ${this.#current}: ${describe(error)}`));
  }

  #redact(message) {
    let clean = message;
    for (const secret of this.#secrets) {
      clean = clean.replaceAll(secret, "[redacted]");
    }
    // Also the secrets nobody announced: a token in a body, an API key.
    return clean
      .replace(/[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}/g, "[redacted token]")
      .replace(/csk_\w+/g, "[redacted key]");
  }
}

function describe(error) {
  if (!(error instanceof Error)) {
    return String(error);
  }
  const parts = [`${error.name}: ${error.message}`];
  if (error.cause) {
    parts.push(`caused by ${describe(error.cause)}`);
  }
  return parts.join("\n  ");
}
