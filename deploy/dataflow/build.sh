#!/usr/bin/env bash
# Builds the flex template: the image (launcher and worker in one), pushed, and the template's file in a bucket.
#
#   deploy/dataflow/build.sh IMAGE gs://BUCKET/kafka-model-scoring.json
set -euo pipefail
image=${1:?the image, such as europe-docker.pkg.dev/PROJECT/images/kafka-model-scoring:1}
template=${2:?where the template goes, such as gs://BUCKET/kafka-model-scoring.json}
cd "$(dirname "$0")/../.."
docker build --file deploy/Dockerfile --target dataflow --tag "$image" .
docker push "$image"
gcloud dataflow flex-template build "$template" \
  --image="$image" --sdk-language=PYTHON --metadata-file=deploy/dataflow/metadata.json
