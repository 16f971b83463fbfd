#!/bin/sh
# One run into a folder of its own; never two at once. Ends with the run's exit code, or 75 while another is under way.
# RECOVERY_DIR holds params.yaml and runs/; RECOVERY_KIT is the command, such as /opt/recovery-kit/.venv/bin/recovery-kit.
set -eu
base=${RECOVERY_DIR:-/srv/recovery}
mkdir -p "$base/runs"
exec flock --nonblock --conflict-exit-code 75 "$base/runs/.nightly" \
    "${RECOVERY_KIT:-recovery-kit}" run -f "$base/params.yaml" \
    ${CREDENTIALS_DIRECTORY:+-p client_config "$CREDENTIALS_DIRECTORY/client.properties"} \
    -p run_dir "$base/runs/$(date -u +%Y%m%dT%H%M%SZ)"
