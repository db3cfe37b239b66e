// validate.js FILE...: holds Thing Descriptions, or arrays of them, against the
// schema of TD 1.1 and against the playground's checks. Run in a folder with the
// packages of package.json.
const fs = require("fs");
const { createRequire } = require("module");
const need = createRequire(process.cwd() + "/");
const Ajv = need("ajv");
const formats = need("ajv-formats");
const { tdValidator } = need("@thing-description-playground/core");

const ajv = new Ajv({ strict: false, allErrors: true, logger: false });
(formats.default || formats)(ajv);
const valid = ajv.compile(JSON.parse(fs.readFileSync(need.resolve("wot-thing-description-types/schema/td-json-schema-validation.json"), "utf8")));

(async () => {
  let n = 0;
  for (const file of process.argv.slice(2)) {
    const read = JSON.parse(fs.readFileSync(file, "utf8"));
    for (const td of Array.isArray(read) ? read : [read]) {
      n++;
      if (!valid(td)) throw new Error(file + ": " + ajv.errorsText(valid.errors));
      // JSON-LD is not looked at: that needs the contexts, from the Internet.
      const { report, details } = await tdValidator(JSON.stringify(td), () => {}, { checkJsonLd: false });
      for (const [what, said] of Object.entries({ ...report, ...details })) {
        // A description need not say what is so by default.
        const fine = said === "passed" || said === "not-impl" || said === null || (what === "defaults" && said === "warning");
        if (!fine) throw new Error(`${file}: ${what}: ${said}`);
      }
    }
  }
  console.log(`valid ${n}`);
})().catch((e) => {
  console.error(String(e));
  process.exit(1);
});
