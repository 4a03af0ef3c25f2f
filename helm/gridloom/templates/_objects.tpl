{{/* Small objects that every component has alike. */}}

{{/* {root, component, ports}: a Service; `ports` is a list of {name, port, target, protocol}. */}}
{{- define "gridloom.service" -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "gridloom.metadata" . | nindent 2 }}
spec:
  type: ClusterIP
  selector:
    {{- include "gridloom.selector" . | nindent 4 }}
  ports:
    {{- range .ports }}
    - name: {{ .name }}
      port: {{ .port }}
      targetPort: {{ .name }}
      {{- with .protocol }}
      appProtocol: {{ . }}
      {{- end }}
    {{- end }}
{{- end -}}

{{/* {root, component}: an account whose token nobody mounts unasked. */}}
{{- define "gridloom.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "gridloom.metadata" . | nindent 2 }}
automountServiceAccountToken: false
{{- end -}}

{{/* {root, component}: one of several replicas may be away at a time. */}}
{{- define "gridloom.disruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "gridloom.metadata" . | nindent 2 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels:
      {{- include "gridloom.selector" . | nindent 6 }}
{{- end -}}

{{/* {root, component}: Prometheus reads the port named metrics. */}}
{{- define "gridloom.serviceMonitor" -}}
{{- $monitors := .root.Values.monitoring.serviceMonitors -}}
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  {{- include "gridloom.metadata" . | nindent 2 }}
    {{- with $monitors.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  selector:
    matchLabels:
      {{- include "gridloom.selector" . | nindent 6 }}
  endpoints:
    - port: metrics
      interval: {{ $monitors.interval }}
{{- end -}}

{{/* {root, component, autoscaling, kind}: by processor use. */}}
{{- define "gridloom.autoscaler" -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  {{- include "gridloom.metadata" . | nindent 2 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ include "gridloom.fullname" .root }}-{{ .component }}
  minReplicas: {{ .autoscaling.minReplicas }}
  maxReplicas: {{ .autoscaling.maxReplicas }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target:
          type: Utilization
          averageUtilization: {{ .autoscaling.targetCpuPercent }}
{{- end -}}

{{/* Peers of a NetworkPolicy: {root, components} -> pods of this release with one of the components. */}}
{{- define "gridloom.peers" -}}
- podSelector:
    matchLabels:
      app.kubernetes.io/name: {{ include "gridloom.name" .root }}
      app.kubernetes.io/instance: {{ .root.Release.Name }}
    matchExpressions:
      - key: app.kubernetes.io/component
        operator: In
        values: {{ .components | toJson }}
{{- end -}}

{{/* The pods of jobs, as peers of a NetworkPolicy. */}}
{{- define "gridloom.jobPeers" -}}
- namespaceSelector:
    matchLabels:
      kubernetes.io/metadata.name: {{ include "gridloom.jobsNamespace" . }}
  podSelector:
    matchLabels:
      {{- include "gridloom.jobLabels" . | nindent 6 }}
{{- end -}}

{{/* Everybody may ask for names. */}}
{{- define "gridloom.dnsEgress" -}}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end -}}

{{/*
NetworkPolicy of a service: {root, component, from, to, ports, keepsNothing}: components that may call
it, components that it calls, and ports outside this release (the API server, a bucket); whether it
has no database.
*/}}
{{- define "gridloom.servicePolicy" -}}
{{- $root := .root -}}
{{- $policies := $root.Values.networkPolicies -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "gridloom.metadata" . | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "gridloom.selector" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress:
    - from:
        {{- include "gridloom.peers" (dict "root" $root "components" .from) | nindent 8 }}
        {{- if not (include "gridloom.internalTls" $root) }}
        {{- with $policies.gateways }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
        {{- end }}
      ports:
        - {port: grpc}
    {{- if eq .component "functions" }}
    # Workers.
    - from:
        {{- include "gridloom.jobPeers" $root | nindent 8 }}
      ports:
        - {port: {{ include "gridloom.workersPortName" $root }}}
    {{- end }}
    {{- with $policies.monitoring }}
    - from:
        {{- toYaml . | nindent 8 }}
      ports:
        - {port: metrics}
    {{- end }}
  egress:
    {{- include "gridloom.dnsEgress" $root | nindent 4 }}
    - to:
        {{- include "gridloom.peers" (dict "root" $root "components" .to) | nindent 8 }}
      ports:
        - {port: 50051}
    {{- if .keepsNothing }}
    {{- else if $root.Values.postgresql.enabled }}
    - to:
        {{- include "gridloom.peers" (dict "root" $root "components" (list "postgresql")) | nindent 8 }}
      ports:
        - {port: 5432}
    {{- else }}
    - ports:
        - {port: {{ $root.Values.database.port }}}
    {{- end }}
    {{- with .ports }}
    - ports:
        {{- range . }}
        - {port: {{ . }}}
        {{- end }}
    {{- end }}
{{- end -}}
