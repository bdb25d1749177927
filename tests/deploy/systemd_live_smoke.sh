# shellcheck shell=bash
# Says that a script runs under the service manager of systemd_live_boot.sh.
echo "the script runs"
