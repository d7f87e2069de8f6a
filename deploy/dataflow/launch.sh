#!/usr/bin/env bash
# Starts a job from the template; what stands behind `--` are its parameters. The image is the workers', too.
#
#   deploy/dataflow/launch.sh gs://BUCKET/kafka-model-scoring.json REGION JOB IMAGE -- bootstrap_servers=kafka:9092 \
#     input_topic=orders output_topic=orders.scored model=grpc://serving:8500/fraud
set -euo pipefail
template=${1:?the template} region=${2:?the region} job=${3:?the name of the job} image=${4:?the image}
[[ ${5:-} == -- ]] || { echo "parameters stand behind --" >&2; exit 2; }
shift 5
# A parameter may have commas in it: gcloud takes another separator between ^ and ^.
parameters=$(printf '~%s' "sdk_container_image=$image" "$@")
gcloud dataflow flex-template run "$job" --template-file-gcs-location="$template" --region="$region" \
  --parameters="^~^${parameters:1}"
