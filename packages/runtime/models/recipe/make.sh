#!/usr/bin/env bash
# Makes both bundled models anew: npm run models:train
# Needs Python 3 with PyTorch (>= 1.13) and NumPy; PYTHON names the interpreter, WORK the folder for what lies between,
# TRAIN_OPTIONS what train.py is told besides, e.g. --bf16 --compile.
set -euo pipefail
cd "$(dirname "$0")/../../../.."
recipe=packages/runtime/models/recipe
work=${WORK:-.helix/models-work}
python=${PYTHON:-python3}
steps=${STEPS:-12500}
embed_steps=${EMBED_STEPS:-600}
run() { npx tsx --conditions=source "$recipe/$1.ts" "${@:2}"; }

run prepare "$work" 650000
"$python" "$recipe/train.py" "$work" --steps "$steps" ${TRAIN_OPTIONS:-}
run export "$work" packages/runtime/models/helix-demo q8

run prepareEmbed "$work" 120000
"$python" "$recipe/train_embed.py" "$work" --steps "$embed_steps"
run exportEmbed "$work" packages/runtime/models/helix-demo-embed fp32

run evaluate
run evaluateEmbed
