#!/bin/sh
# The versions of wot-thing-description-types end in a date, which semantic
# versioning takes for a pre-release and orders as text: by "^1.1.0-12-March-2025"
# npm installs another draft, and its JSON Schema refuses a minimal Thing
# Description of TD 1.1 that the schema of the version itself takes.
#
# Seen with npm 10, ajv 8.20.0. Fails when that is no longer so.
#
# For us: the exact version stands in e2e/testdata/wot, also as an override.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >look.js <<'JS'
const path = "wot-thing-description-types/";
const Ajv = require("ajv"), formats = require("ajv-formats");
const ajv = new Ajv({ strict: false, logger: false });
(formats.default || formats)(ajv);
const ok = ajv.validate(require(path + "schema/td-json-schema-validation.json"), {
  "@context": "https://www.w3.org/2022/wot/td/v1.1", title: "t", securityDefinitions: { n: { scheme: "nosec" } }, security: "n",
});
console.log(`${require(path + "package.json").version} ${ok ? "takes" : "refuses"}`);
JS
look() {
	mkdir "$1"
	(cd "$1" && npm init -y >/dev/null && npm install --silent --no-audit --no-fund --ignore-scripts ajv@8.20.0 ajv-formats@3.0.1 "wot-thing-description-types@$2" && cp ../look.js . && node look.js)
}
exact=$(look exact 1.1.0-12-March-2025)
range=$(look range '^1.1.0-12-March-2025')
echo "1.1.0-12-March-2025 installs  $exact a minimal description"
echo "^1.1.0-12-March-2025 installs $range it"
case "$exact/$range" in
"1.1.0-12-March-2025 takes/1.1.0-12-March-2025 "*) ;;
"1.1.0-12-March-2025 takes/"*" refuses")
	echo "as described: the range installs an older draft"
	exit 0
	;;
esac
echo "it is no longer so"
exit 1
