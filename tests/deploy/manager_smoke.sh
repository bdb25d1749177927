# Says that a script runs under the service manager of manager_boot.sh.
echo "the script runs"
