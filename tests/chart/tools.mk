# The tools of the chart's and the image's tests, in .tools/bin, which git ignores.
.PHONY: tools cluster-tools

tools: $(BIN)/python  ## helm 3 and 4, kubectl, hadolint, checkov and promtool for the tests of the chart
	$(BIN)/python tests/chart/tools.py

cluster-tools: $(BIN)/python  # what a cluster is talked to with
	$(BIN)/python tests/chart/tools.py helm3 helm4 kubectl
