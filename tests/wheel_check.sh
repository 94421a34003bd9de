#!/bin/sh
# The installed wheel, outside the checkout: the reading half on a recorded snapshot, and the rules that it carries.
set -eu
netdoctor --version
netdoctor explain | grep -q hairpin-snat-missing
netdoctor explain hairpin-snat-missing >/dev/null
status=0
netdoctor check --snapshot snapshots/hairpin-snat-missing.json.gz >report.txt || status=$?
cat report.txt
[ "$status" -eq 1 ]
grep -q 'hairpin-snat-missing:' report.txt
status=0
netdoctor trace --snapshot snapshots/hairpin-snat-missing.json.gz --from shop/web --to svc/shop/cart:http || status=$?
[ "$status" -eq 1 ]
netdoctor demo
echo "the wheel works outside the checkout"
