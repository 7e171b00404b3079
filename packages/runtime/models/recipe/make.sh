#!/usr/bin/env bash
# Makes both bundled models anew: npm run models:train
# Needs Python 3 with PyTorch (>= 1.13) and NumPy; PYTHON names the interpreter, WORK the folder for what lies between,
# STEPS and TOKENS how many batches of how many tokens (on a CPU 12500 and 3072 take long enough), TRAIN_OPTIONS what train.py is
# told besides, e.g. --compile.
set -euo pipefail
cd "$(dirname "$0")/../../../.."
recipe=packages/runtime/models/recipe
work=${WORK:-.helix/models-work}
python=${PYTHON:-python3}
steps=${STEPS:-21000}
tokens=${TOKENS:-16384}
more_steps=${MORE_STEPS:-1300}
embed_steps=${EMBED_STEPS:-600}
run() { npx tsx --conditions=source "$recipe/$1.ts" "${@:2}"; }

run prepare "$work" 1200000
"$python" "$recipe/train.py" "$work" --steps "$steps" --tokens "$tokens" ${TRAIN_OPTIONS:-}
run prepare "$work" 100000 tools,subtraction
"$python" "$recipe/train.py" "$work" --resume --rate 0.3 --seed 2 --steps "$more_steps" ${TRAIN_OPTIONS:-}
run export "$work" packages/runtime/models/helix-demo q8

run prepareEmbed "$work" 120000
"$python" "$recipe/train_embed.py" "$work" --steps "$embed_steps"
run exportEmbed "$work" packages/runtime/models/helix-demo-embed fp32

run evaluate
run evaluateEmbed
