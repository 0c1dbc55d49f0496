"""Traces and metrics for a receiver of OpenTelemetry's protocol; needs the extra `otel`."""
