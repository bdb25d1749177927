# shellcheck shell=bash
# What an operator does on a machine with systemd, under a real one (systemd_live_boot.sh): each step notes how it went in /run/out/notes.
export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
out=/run/out tls=/etc/postern/tls
note() { printf '%s %s\n' "$1" "$2" >>$out/notes; }
property() { systemctl show --property="$2" --value "postern-$1"; }
# until SECONDS COMMAND...: waits for it to succeed.
until_done() {
  local left=$1
  shift
  for ((; left > 0; left--)); do
    if "$@" >/dev/null 2>&1; then return 0; fi
    sleep 1
  done
  return 1
}
# step NAME COMMAND...: notes its exit code. Later ones would wait in vain for what did not come, so the first that should not fail ends all.
step() {
  local name=$1 code=0
  shift
  "$@" || code=$?
  note "$name" "$code"
  if [ "$code" -ne 0 ] && [[ $name != reload-changed && $name != early-renewed ]]; then
    systemctl status --no-pager 'postern-*'
    exit 1
  fi
}
drop_in() {
  mkdir -p "/etc/systemd/system/postern-$1.service.d"
  printf '[Service]\n%s\n' "$3" >"/etc/systemd/system/postern-$1.service.d/$2.conf"
}

install=(/run/source/deploy/systemd/install.sh --binary /run/source/dist/postern)
step install "${install[@]}" server connector agent
postern certs init /run/pki --service web
for role in server connector agent; do
  cp "/run/pki/$role-cert.pem" "$tls/$role.crt"
  cp "/run/pki/$role-key.pem" "$tls/$role.key"
  drop_in "$role" log "StandardError=append:$out/$role.log"
done
cp /run/pki/ca-cert.pem $tls/ca.crt
chmod 0600 $tls/*
sed -i 's/^POSTERN_SERVER=.*/POSTERN_SERVER=localhost:4433/' /etc/postern/{connector,agent}.env
systemctl daemon-reload

socat TCP-LISTEN:8080,bind=127.0.0.1,fork,reuseaddr EXEC:cat &
for role in server connector agent; do step "start-$role" systemctl start "postern-$role"; done
answers() { [ "$(printf 'through systemd' | socat -t 10 - TCP:127.0.0.1:9000)" = 'through systemd' ]; }
step tunnel until_done 60 answers
note limits "$(grep -E '^(CapBnd|CapEff|NoNewPrivs|Seccomp):' "/proc/$(property server MainPID)/status" | tr -s '\t\n' ' ')"
note user "$(stat -c %U "/proc/$(property server MainPID)")"

for role in server connector agent; do step "reload-$role" systemctl reload "postern-$role"; done
cp /run/pki/legacy-cert.pem $tls/server.crt
step reload-changed systemctl reload postern-server
cp /run/pki/server-cert.pem $tls/server.crt

# A data plane that hangs is ended by the watchdog and started again, a role that was killed as well; wrong settings are not tried again.
drop_in server quick 'WatchdogSec=6
RestartSec=1'
systemctl daemon-reload
systemctl restart postern-server
systemctl kill --kill-whom=main --signal=STOP postern-server
restarted() { [ "$(property server NRestarts)" -ge "$1" ] && [ "$(property server ActiveState)" = active ]; }
step watchdog until_done 60 restarted 1
systemctl kill --kill-whom=main --signal=KILL postern-server
step killed until_done 60 restarted 2
# On a busy machine the short time would end a server that is well.
rm /etc/systemd/system/postern-server.service.d/quick.conf
systemctl daemon-reload
systemctl restart postern-server
step tunnel-again until_done 60 answers
drop_in agent wrong 'Environment=POSTERN_FORWARD=nonsense
EnvironmentFile='
systemctl daemon-reload
systemctl restart postern-agent
failed() { [ "$(property agent ActiveState)" = failed ]; }
step wrong-settings until_done 30 failed
note wrong-settings-restarts "$(property agent NRestarts)"

# With its drop-in an agent may make a network interface, and nothing beside it.
if [ -e /dev/net/tun ]; then
  rm /etc/systemd/system/postern-agent.service.d/wrong.conf
  echo POSTERN_TUN=postern0 >>/etc/postern/agent.env
  step install-tun "${install[@]}" --with tun agent
  step start-tun systemctl restart postern-agent
  has_device() { ip -o address show dev postern0 | grep -q 'inet 100\.64\.0\.1'; }
  step tun until_done 30 has_device
  note tun-limits "$(grep -E '^CapBnd:' "/proc/$(property agent MainPID)/status" | tr -s '\t' ' ')"
else
  note tun none
fi

# The certificate is renewed while the server runs.
lineage=/etc/letsencrypt/live/gateway.example.com
mkdir -p $lineage
cp /run/pki/server-cert.pem $lineage/fullchain.pem
cp /run/pki/server-key.pem $lineage/privkey.pem
cp /run/pki/ca-cert.pem $lineage/chain.pem
step early-renewed "${install[@]}" --with renewed-files server
step first-certificate /usr/local/lib/postern/install-certificate.sh $lineage
step install-renewed "${install[@]}" --with renewed-files server
main=$(property server MainPID)
cat >/usr/bin/certbot <<CERTBOT
#!/bin/sh
# renew --quiet --deploy-hook HOOK
cp /run/pki-2/server-cert.pem $lineage/fullchain.pem
cp /run/pki-2/server-key.pem $lineage/privkey.pem
RENEWED_LINEAGE=$lineage sh -c "\$4"
CERTBOT
chmod 0755 /usr/bin/certbot
postern certs init /run/pki-2 --service web
step renew systemctl start postern-cert-renew
step served until_done 30 grep -q '"event":"reloaded","cert_file":"/etc/postern/renewed/' $out/server.log
step renewed cmp /etc/postern/renewed/cert.pem /run/pki-2/server-cert.pem
note same-process "$([ "$main" = "$(property server MainPID)" ] && echo yes)"
step stop systemctl stop postern-server postern-connector
note result "$(property server Result) $(property connector Result)"
